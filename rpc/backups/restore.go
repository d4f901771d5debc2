package backups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// A Restore makes the data folder of a new cluster from a full backup, and from increments.
type Restore struct {
	// Full is the file of a full backup; the latest of Folder that fits when empty.
	Full string
	// Folder has the increments; empty for none.
	Folder Folder
	Until  backup.Until
	// Into is the folder to make; its Fill is set here.
	Into cluster.Restore
	// Report hears of files that are not used, a sentence a time. It must be set.
	Report func(text string)
	// Progress hears how many bytes of all files were read, and its error ends the restore; nil is not asked.
	Progress func(done, total int64) error
}

// Restored says what came of a restore.
type Restored struct {
	cluster.Restored
	backup.Choice
	// Folder is the one that was made.
	Folder string
}

// Run restores. Nothing is left in the folder when it fails.
func (r Restore) Run() (done Restored, err error) {
	done.Folder = r.Into.Folder
	if done.Choice, err = r.choose(); err != nil {
		return done, err
	}
	r.Into.Fill = func(rows *store.Store) (graph.Revision, error) {
		return done.Issued, r.fill(rows, done.Choice)
	}
	done.Restored, err = r.Into.Run()
	return done, err
}

func (r Restore) choose() (backup.Choice, error) {
	var files []backup.File
	if r.Folder != "" {
		var damaged []Damaged
		var err error
		if files, damaged, err = r.Folder.Files(); err != nil {
			return backup.Choice{}, err
		}
		for _, d := range damaged {
			r.Report(fmt.Sprintf("%s is not used: %v", d.Name, d.Err))
		}
	}
	if r.Full == "" {
		return backup.Choose(files, nil, r.Until)
	}
	full, err := Look(r.Full)
	if err != nil {
		return backup.Choice{}, err
	}
	return backup.Choose(files, &full, r.Until)
}

// fill reads the files into the store.
func (r Restore) fill(rows *store.Store, c backup.Choice) error {
	progress := &progress{tell: r.Progress}
	for _, f := range append([]backup.File{c.Full}, c.Increments...) {
		info, err := os.Stat(f.Name)
		if err != nil {
			return err
		}
		progress.total += info.Size()
	}
	err := read(c.Full.Name, progress, func(b *backup.Reader) error {
		_, err := backup.Load(b, rows, progress.at)
		return err
	})
	if err != nil {
		return err
	}
	// The machine is not closed: the store is the caller's.
	replay, err := backup.NewReplay(fsm.New(rows), r.Until)
	if err != nil {
		return err
	}
	for _, f := range c.Increments {
		if replay.Done() {
			break
		}
		if err := read(f.Name, progress, replay.File); err != nil {
			return err
		}
	}
	return replay.Finish()
}

// read opens a file and names it in what goes wrong.
func read(name string, p *progress, fn func(*backup.Reader) error) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	b, err := backup.NewReader(file)
	if err == nil {
		defer b.Close()
		err = fn(b)
	}
	if err == nil {
		p.before += b.Offset()
		err = p.at(0)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return nil
}

// progress adds up files.
type progress struct {
	tell          func(done, total int64) error
	before, total int64
}

func (p *progress) at(bytes int64) error {
	if p.tell == nil {
		return nil
	}
	return p.tell(p.before+bytes, p.total)
}
