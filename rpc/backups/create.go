package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/backup"
	pb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
	"github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1/graphgrpc"
)

// fileMode is that of every backup: it holds what everybody said, and the secret key of the cluster.
const fileMode = 0o600

// Create takes a full backup and writes it to w as it comes, while every block of it is checked. What was written is whole when
// there is no error. progress hears of the bytes that have come; nil is not told.
func Create(ctx context.Context, c graphgrpc.BackupServiceClient, w io.Writer, progress func(bytes int64)) (backup.File, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Create(ctx, &pb.CreateBackupRequest{})
	if err != nil {
		return backup.File{}, err
	}
	checked, in := io.Pipe()
	looked := make(chan skimmed, 1)
	go func() {
		f, err := skim(checked)
		checked.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		looked <- skimmed{f, err}
	}()
	err = receive(stream, io.MultiWriter(w, in), progress)
	in.CloseWithError(err) // nil is the end of the file
	result := <-looked
	if err == nil || errors.Is(result.err, backup.ErrDamaged) && errors.Is(err, io.ErrClosedPipe) {
		err = result.err
	}
	return result.file, err
}

type skimmed struct {
	file backup.File
	err  error
}

// skim checks the blocks of a file as they come.
func skim(r io.Reader) (backup.File, error) {
	b, err := backup.NewReader(r)
	if err != nil {
		return backup.File{}, err
	}
	defer b.Close()
	trailer, err := b.Skim()
	return backup.File{Header: b.Header(), Trailer: trailer}, err
}

func receive(stream interface {
	Recv() (*pb.CreateBackupResponse, error)
}, w io.Writer, progress func(int64)) error {
	for total := int64(0); ; {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		n, err := w.Write(m.Chunk)
		if total += int64(n); progress != nil {
			progress(total)
		}
		if err != nil {
			return fmt.Errorf("write the backup: %w", err)
		}
	}
}

// CreateFile takes a full backup into a file, which appears under its name when it is whole and on the disk, in place of the file that
// stood there before. What is no file, as a device, is refused: it would be replaced.
func CreateFile(ctx context.Context, c graphgrpc.BackupServiceClient, path string, progress func(bytes int64)) (f backup.File, err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return f, fmt.Errorf("%s is no file: name one, or write to standard output", path)
	}
	err = writeFile(path, func(w io.Writer) (string, error) {
		f, err = Create(ctx, c, w, progress)
		return path, err
	})
	f.Name = path
	return f, err
}

// temporaryPrefix begins the names of files that are not whole. They are beside those that they become.
const temporaryPrefix = ".backup-"

// writeFile writes a file that appears under the name that write returns.
func writeFile(beside string, write func(io.Writer) (name string, err error)) (err error) {
	dir := filepath.Dir(beside)
	file, err := os.CreateTemp(dir, temporaryPrefix+"*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	name, err := write(file)
	if err = errors.Join(err, finish(file, err == nil)); err != nil {
		return err
	}
	return appear(file.Name(), name)
}

// finish syncs a file that is whole, and closes it.
func finish(file *os.File, whole bool) error {
	var err error
	if whole {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// appear gives a file its name, for good.
func appear(temporary, name string) error {
	if err := errors.Join(os.Chmod(temporary, fileMode), os.Rename(temporary, name)); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(name))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}
