package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Format is the version of meta.json and of the folder that this release writes and the latest that it reads.
const Format = 1

// maxMetaBytes bounds meta.json.
const maxMetaBytes = 1 << 20

var (
	// ErrNone says that the folder has no meta.json: nobody has used it yet.
	ErrNone = errors.New("data folder has no identity")
	// ErrDamaged says that meta.json is not what was written.
	ErrDamaged = errors.New("damaged")
	// ErrFormat says that a later release wrote the folder.
	ErrFormat = errors.New("written by a later release")
)

// Meta is who a data folder belongs to.
type Meta struct {
	// Format is the version of the folder.
	Format int `json:"format"`
	// ClusterID is a UUID; empty, with Lineage 0, while the node waits for a cluster to take it in.
	ClusterID string `json:"cluster_id"`
	// NodeID is `<name>-<8 hex>`; it is of the folder, not of the machine: a new disk is a new node.
	NodeID string `json:"node_id"`
	// Lineage is the one that the node was last in; new at bootstrap, restore and recover. It is never 0 in a cluster.
	Lineage uint32 `json:"lineage"`
	// KeyIDs are the keys that values of this folder may be encrypted with, none so far.
	KeyIDs []uint32 `json:"key_ids"`
	// Created is when the folder was first used.
	Created time.Time `json:"created"`
	// CreatedBy is the release that did.
	CreatedBy string `json:"created_by,omitempty"`
}

// metaFile is meta.json: the sum is of the JSON of the same file with an empty checksum.
type metaFile struct {
	Meta
	Checksum string `json:"checksum"`
}

// encode writes the file's text, the same for the same Meta.
func (m Meta) encode() ([]byte, error) {
	if m.KeyIDs == nil {
		m.KeyIDs = []uint32{}
	}
	file := metaFile{Meta: m}
	bare, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(bare)
	file.Checksum = "sha256:" + hex.EncodeToString(sum[:])
	text, err := json.MarshalIndent(file, "", "  ")
	return append(text, '\n'), err
}

// Load reads meta.json. The error is of the kind [ErrNone], [ErrRestoring], [ErrDamaged], [ErrFormat], or what the disk said.
func Load(f Folder) (Meta, error) {
	info, err := os.Stat(f.Meta())
	if errors.Is(err, fs.ErrNotExist) {
		return Meta{}, without(f)
	}
	if err != nil {
		return Meta{}, fmt.Errorf("identity: %w", err)
	}
	if info.Size() > maxMetaBytes {
		return Meta{}, fmt.Errorf("%s: %d bytes: %w", f.Meta(), info.Size(), ErrDamaged)
	}
	text, err := os.ReadFile(f.Meta())
	if err != nil {
		return Meta{}, fmt.Errorf("identity: %w", err)
	}
	m, err := decode(text)
	if err != nil {
		return Meta{}, fmt.Errorf("%s: %w", f.Meta(), err)
	}
	return m, nil
}

// decode takes no text but the one that encode writes, so every changed byte is noticed.
func decode(text []byte) (Meta, error) {
	var file metaFile
	if err := json.Unmarshal(text, &file); err != nil {
		return Meta{}, fmt.Errorf("%v: %w", err, ErrDamaged)
	}
	// What a later release writes need not follow the rules below, so its version is looked at first.
	if file.Format > Format {
		return Meta{}, fmt.Errorf("format %d, this release reads up to %d: start the release that wrote it, or a later one: %w",
			file.Format, Format, ErrFormat)
	}
	want, err := file.Meta.encode()
	if err != nil {
		return Meta{}, fmt.Errorf("%v: %w", err, ErrDamaged)
	}
	if string(want) != string(text) {
		return Meta{}, fmt.Errorf("checksum does not match: restore the file from a copy; do not edit it: %w", ErrDamaged)
	}
	if err := file.Meta.check(); err != nil {
		return Meta{}, fmt.Errorf("%w: %w", err, ErrDamaged)
	}
	return file.Meta, nil
}

// Waits reports that the node is of no cluster yet.
func (m Meta) Waits() bool { return m.ClusterID == "" }

func (m Meta) check() error {
	switch {
	case m.Format != Format:
		return fmt.Errorf("format %d", m.Format)
	case m.NodeID == "":
		return errors.New("node id is empty")
	case (m.ClusterID == "") != (m.Lineage == 0):
		return fmt.Errorf("cluster id is %q, lineage %d: one without the other", m.ClusterID, m.Lineage)
	case strings.ContainsAny(m.NodeID, "/\\ \n"):
		return fmt.Errorf("node id %q", m.NodeID)
	}
	return nil
}

// Save replaces meta.json: after a crash at any moment the folder has the old one or the new one, whole.
func Save(f Folder, m Meta) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	text, err := m.encode()
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	temp := f.Meta() + ".tmp"
	if err := writeSynced(temp, text); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	if err := os.Rename(temp, f.Meta()); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	return syncFolder(string(f))
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
