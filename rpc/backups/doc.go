// Package backups keeps backups of a running cluster in files and folders, and makes data folders of them.
//
// It is a client of BackupService: it takes full backups, follows the log into increments, and finds what a restore to a moment or a
// revision needs. It promises that a file appears under its name when it is whole and on the disk, that a folder which was
// followed into has no gap between a full backup and its last increment or says so, and that a process which is killed at any moment goes on
// where it was. It knows nothing of what is in a backup: package fsm/backup does.
package backups
