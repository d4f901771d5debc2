//go:build !linux

package faults

func mount(string) error { return ErrNoMount }

func unmount(string) error { return ErrNoMount }

func room(string) (int64, error) { return 0, ErrNoMount }
