package cluster

import "errors"

// noteDamage has nowhere to write.
func (*Node) noteDamage(error) {}

// openDisk refuses: bbolt, Pebble and file locks are not to be had here.
func (*Node) openDisk() (files, error) {
	return files{}, errors.New("this platform cannot keep a data folder: run in memory")
}
