package history

import (
	"errors"
	"fmt"
	"time"
)

// ErrForm is returned for a history that no recorder can have written.
var ErrForm = errors.New("not a history")

// form follows a history and refuses what cannot be.
type form struct {
	length int
	time   time.Duration
	// open is what each process is doing, by name; retired processes do nothing any more.
	open    map[Process]string
	retired map[Process]bool
}

func newForm() *form { return &form{open: map[Process]string{}, retired: map[Process]bool{}} }

func (f *form) add(o Op) error {
	switch {
	case o.Index != f.length:
		return fmt.Errorf("%w: index is %d, want %d: one is missing or twice there", ErrForm, o.Index, f.length)
	case o.Time < f.time:
		return fmt.Errorf("%w: time is %d, before that of the line above, %d", ErrForm, o.Time, f.time)
	case o.F == "":
		return fmt.Errorf("%w: f is empty", ErrForm)
	case o.Type != Invoke && o.Type != OK && o.Type != Fail && o.Type != Info:
		return fmt.Errorf("%w: type is %q, want invoke, ok, fail or info", ErrForm, o.Type)
	}
	if o.Process != Nemesis {
		if err := f.step(o); err != nil {
			return err
		}
	}
	f.length++
	f.time = o.Time
	return nil
}

// step follows one client.
func (f *form) step(o Op) error {
	doing, busy := f.open[o.Process]
	switch {
	case f.retired[o.Process]:
		return fmt.Errorf("%w: process %d goes on after a call whose outcome it never learned", ErrForm, o.Process)
	case o.Type == Invoke && busy:
		return fmt.Errorf("%w: process %d begins %s while its %s is open", ErrForm, o.Process, o.F, doing)
	case o.Type == Invoke:
		f.open[o.Process] = o.F
		return nil
	case !busy:
		return fmt.Errorf("%w: process %d ends %s, which it did not begin", ErrForm, o.Process, o.F)
	case doing != o.F:
		return fmt.Errorf("%w: process %d ends %s, but %s is what it began", ErrForm, o.Process, o.F, doing)
	}
	delete(f.open, o.Process)
	if o.Type == Info {
		f.retired[o.Process] = true
	}
	return nil
}
