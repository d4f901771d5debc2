// Package backup is the file that a backup is: the records of a state at one revision, or the log entries after one.
//
// It writes such files in constant memory, and reads them back: into an empty store, and on by applying entries up to a moment or
// a revision. It promises that a file that was cut, changed, forged or put together wrongly is refused, that the error names the
// block and where it lies, that no length in it is trusted, and that every file ever written can be read. It knows nothing of
// folders, clocks and networks: it works on readers and writers.
package backup
