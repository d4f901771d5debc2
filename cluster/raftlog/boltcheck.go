//go:build !wasip1

package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.etcd.io/bbolt"
)

// checkBuckets walks the keys of a file before raft-boltdb opens it. raft-boltdb makes a bucket that it does not find,
// so a rotten bucket name would be an empty log; and a rotten last key would be a shorter one.
// A file without any bucket is one that was being created.
func checkBuckets(path string) (err error) {
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return nil //nolint:nilerr // raft-boltdb creates the file, or says why it cannot
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return err
	}
	// A damaged file can fault in Close too; guard, above, sees to that.
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(tx *bbolt.Tx) error {
		var names []string
		if err := tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
			names = append(names, string(name))
			return nil
		}); err != nil {
			return err
		}
		if len(names) == 0 {
			return nil
		}
		if !slices.Equal(names, []string{"conf", "logs"}) {
			return fmt.Errorf("%s: buckets are %q, want conf and logs: %w", path, names, ErrDamaged)
		}
		return checkKeys(path, tx.Bucket([]byte("logs")))
	})
}

func checkKeys(path string, logs *bbolt.Bucket) error {
	var last uint64
	return logs.ForEach(func(key, _ []byte) error {
		if len(key) != 8 {
			return fmt.Errorf("%s: log key of %d bytes: %w", path, len(key), ErrDamaged)
		}
		index := binary.BigEndian.Uint64(key)
		if index <= last {
			return fmt.Errorf("%s: log key %d follows %d: %w", path, index, last, ErrDamaged)
		}
		last = index
		return nil
	})
}
