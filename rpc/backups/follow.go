package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/identity"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// Defaults of a Follower.
const (
	// DefaultEvery is how long entries are gathered into an increment: what a loss of the cluster may lose, at the most.
	DefaultEvery = 10 * time.Second
	// DefaultBytes is how large an increment grows before its time, bytes as received.
	DefaultBytes = 64 << 20
)

const (
	// maxMessageBytes bounds a message: an entry may have 8 MiB and more.
	maxMessageBytes = 32 << 20
	// Pauses between two tries to reach a server, and how many tries in a row a follower makes that has not reached one yet.
	shortestPause = 100 * time.Millisecond
	longestPause  = 5 * time.Second
	firstTries    = 10
)

// A Follower keeps a folder up to date: a full backup, and increments of what comes after it.
type Follower struct {
	Client graphgrpc.BackupServiceClient
	Folder Folder
	// Every and Bytes say when an increment is done, if there is anything in it; 0 for the defaults.
	Every time.Duration
	Bytes int64
	// FullEvery is how old the last full backup may get before another one is taken; 0 for never: increments only get more.
	FullEvery time.Duration
	// Once ends when all is there that was acknowledged before, instead of waiting for more.
	Once bool
	// Report hears what it does, a sentence a time. It must be set.
	Report func(text string)
	// Took hears of each file that has appeared; nil is not told.
	Took func(backup.File)
	// Version of the program, written into increments.
	Version string

	// fullAt is when this follower took its last full backup, by its own clock.
	fullAt time.Time
	// skip is the revision of a full backup whose entries before it are gone.
	skip uint64
}

// Run follows until ctx is done, which is a clean end: what has come by then is in the folder. It waits for servers that cannot be
// reached, once it has reached one.
func (f *Follower) Run(ctx context.Context) (err error) {
	if f.Every == 0 {
		f.Every = DefaultEvery
	}
	if f.Bytes == 0 {
		f.Bytes = DefaultBytes
	}
	if err := os.MkdirAll(string(f.Folder), 0o700); err != nil {
		return fmt.Errorf("folder of backups: %w", err)
	}
	lock, err := identity.Acquire(identity.Folder(f.Folder))
	if err != nil {
		return fmt.Errorf("folder of backups: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if err := f.Folder.clear(); err != nil {
		return err
	}
	reached := false
	for tries := 0; ; {
		at, err := f.place(ctx)
		if err == nil {
			reached = true
			var went bool
			if went, err = f.from(ctx, at); went {
				tries = 0
			}
		}
		switch again := f.again(err); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			return nil // once
		case !again, tries >= firstTries && (!reached || f.Once):
			return err
		case status.Code(err) == codes.Unavailable:
			f.Report(fmt.Sprintf("no server: %v; trying again", status.Convert(err).Message()))
			wait(ctx, min(shortestPause<<min(tries, 10), longestPause))
			tries++
		}
	}
}

// again reports an error after which another try makes sense.
func (f *Follower) again(err error) bool {
	return err == nil || status.Code(err) == codes.Unavailable || errors.Is(err, errFull)
}

// errFull asks to look anew at the folder, after a full backup.
var errFull = errors.New("a full backup is needed")

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// A place is how far a folder goes: up to a revision, behind a full backup or, where entries before that are still to come, before it.
type place struct {
	full     *pb.BackupHeader
	revision uint64
	instant  *timestamppb.Timestamp
}

// place is where the folder ends; a full backup is taken when it has none, or none that leads on.
func (f *Follower) place(ctx context.Context) (place, error) {
	files, damaged, err := f.Folder.Files()
	if err != nil {
		return place{}, err
	}
	for _, d := range damaged {
		f.Report(fmt.Sprintf("%s is not used: %v", d.Name, d.Err))
	}
	if len(files) > 0 {
		chosen, err := backup.Choose(files, nil, backup.Until{})
		if err == nil {
			return f.end(chosen, files), nil
		}
		if several(files) {
			return place{}, err
		}
		f.Report(fmt.Sprintf("%v: taking a full backup", err))
	}
	full, err := f.full(ctx, files)
	if err != nil {
		return place{}, err
	}
	return place{full: full.Header, revision: full.Header.Revision, instant: full.Header.Instant}, nil
}

// end is where to go on. When nothing follows the last full backup, the entries between it and what there was before are wanted as
// well, so that moments between can be restored.
func (f *Follower) end(c backup.Choice, files []backup.File) place {
	at := place{full: c.Full.Header, revision: c.Full.Header.Revision, instant: c.Full.Header.Instant}
	if n := len(c.Increments); n > 0 {
		at.revision, at.instant = c.Increments[n-1].Trailer.Revision, c.Increments[n-1].Trailer.Instant
		return at
	}
	var before *backup.File
	for _, file := range files {
		if file.Trailer.Revision < at.revision && (before == nil || file.Trailer.Revision > before.Trailer.Revision) {
			before = &file
		}
	}
	if before != nil && f.skip < at.revision {
		at.revision, at.instant = before.Trailer.Revision, before.Trailer.Instant
	}
	return at
}

// several reports files of more than one history.
func several(files []backup.File) bool {
	for _, g := range files[1:] {
		if !sameHistory(files[0], g) {
			return true
		}
	}
	return false
}

func sameHistory(a, b backup.File) bool {
	return a.Header.ClusterId == b.Header.ClusterId && a.Header.Lineage == b.Header.Lineage
}

// full takes a full backup into the folder. It must be of the history that the folder has.
func (f *Follower) full(ctx context.Context, before []backup.File) (full backup.File, err error) {
	err = writeFile(filepath.Join(string(f.Folder), "full"), func(w io.Writer) (string, error) {
		if full, err = Create(ctx, f.Client, w, nil); err != nil {
			return "", err
		}
		if len(before) > 0 && !sameHistory(before[0], full) {
			return "", fmt.Errorf("the folder has backups of cluster %s and lineage %s, the server is of %s and %s: choose another folder",
				before[0].Header.ClusterId, before[0].Header.Lineage, full.Header.ClusterId, full.Header.Lineage)
		}
		return filepath.Join(string(f.Folder), nameOf(full)), nil
	})
	if err == nil {
		f.fullAt = time.Now()
		full.Name = filepath.Join(string(f.Folder), nameOf(full))
		f.took(full)
	}
	return full, err
}

func (f *Follower) took(file backup.File) {
	if f.Took != nil {
		f.Took(file)
	}
}

// from follows the log from a place; went says that something came.
func (f *Follower) from(ctx context.Context, at place) (went bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := f.Client.Follow(ctx, &pb.FollowBackupRequest{
		ClusterId: at.full.ClusterId, Lineage: at.full.Lineage, AfterRevision: at.revision, UntilNow: f.Once,
	}, grpc.MaxCallRecvMsgSize(maxMessageBytes))
	if err != nil {
		return false, err
	}
	came := make(chan received)
	go func() {
		defer close(came)
		for {
			m, err := stream.Recv()
			select {
			case came <- received{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		cancel()
		for range came { // its goroutine ends with the stream
		}
	}()
	w := &increments{follower: f, place: at}
	went, err = f.gather(ctx, w, came)
	return went, f.explained(ctx, w.place, errors.Join(err, w.finish()))
}

type received struct {
	m   *pb.FollowBackupResponse
	err error
}

// gather writes what comes, and ends increments when their time has come.
func (f *Follower) gather(ctx context.Context, w *increments, came <-chan received) (went bool, err error) {
	due := time.NewTicker(f.Every)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return went, nil
		case <-due.C:
			if err := w.finish(); err != nil {
				return went, err
			}
			if f.stale(w.place.full) {
				return went, errFull
			}
		case r, ok := <-came:
			switch {
			case !ok || errors.Is(r.err, io.EOF):
				return went, nil
			case r.err != nil:
				return went, r.err
			}
			went = true
			if err := w.take(r.m.Entries); err != nil {
				return went, err
			}
		}
	}
}

// stale reports a full backup that is due to be followed by another.
func (f *Follower) stale(full *pb.BackupHeader) bool {
	taken := f.fullAt
	if taken.IsZero() {
		taken = full.GetCreated().AsTime()
	}
	return f.FullEvery > 0 && time.Since(taken) >= f.FullEvery
}

// explained turns refusals into what to do about them.
func (f *Follower) explained(ctx context.Context, at place, err error) error {
	switch {
	case errors.Is(err, errFull):
		return f.anew(ctx, fmt.Sprintf("the last full backup is %v old: taking another", f.FullEvery))
	case reasonOf(err) == "LOG_COMPACTED" && at.revision < at.full.Revision:
		f.Report(fmt.Sprintf("the log after revision %d is no longer there: nothing between that and the full backup of %d can be restored", at.revision, at.full.Revision))
		f.skip = at.full.Revision
		return errFull
	case reasonOf(err) == "LOG_COMPACTED":
		return f.anew(ctx, fmt.Sprintf("the log after revision %d is no longer there: taking a full backup", at.revision))
	case status.Code(err) == codes.FailedPrecondition:
		return fmt.Errorf("the folder has backups of another history: choose another folder: %w", err)
	default:
		return err
	}
}

// anew takes a full backup, with which the next try goes on.
func (f *Follower) anew(ctx context.Context, why string) error {
	f.Report(why)
	files, _, err := f.Folder.Files()
	if err == nil {
		_, err = f.full(ctx, files)
	}
	if err != nil {
		return err
	}
	return errFull
}

// reasonOf is why a server says that it refused.
func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}
