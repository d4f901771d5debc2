package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/globalbusinessadvisors/llm-memory-graph/graph/samples"
)

// streamOf is a checkpoint of a store as bytes.
func streamOf(t testing.TB, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	sys, err := s.WriteCheckpoint(&b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.System(), sys); diff != "" {
		t.Errorf("system of the checkpoint: %s", diff)
	}
	return b.Bytes()
}

func TestCheckpointMovesEverything(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		target := engines()[strings.TrimPrefix(t.Name(), "TestCheckpointMovesEverything/")](t)
		for n := uint64(1); n <= 40; n++ {
			work(t, s, n)
		}
		stream := streamOf(t, s)
		want := rowsOf(t, s)
		work(t, target, 1)
		before := target.Snapshot()
		defer before.Close()
		st, err := target.Stage(iotest.OneByteReader(bytes.NewReader(stream)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.System(), st.System()); diff != "" {
			t.Errorf("system of what was staged: %s", diff)
		}
		if target.System().Applied != 1 || target.Epoch() != 0 {
			t.Error("staging changed the store")
		}
		if err := target.Install(st, 77, 8); err != nil {
			t.Fatal(err)
		}
		sys := target.System()
		if index, term := target.DurableApplied(); sys.Applied != 77 || sys.Term != 8 || index != 77 || term != 8 {
			t.Errorf("applied %d of term %d, durable %d of %d, want 77 of 8", sys.Applied, sys.Term, index, term)
		}
		got := rowsOf(t, target)
		delete(got, "system")
		delete(want, "system")
		wantRows(t, "installed rows", got, want)
		if target.Epoch() != 1 {
			t.Errorf("epoch %d, want 1", target.Epoch())
		}
		// The snapshot from before still reads what was there.
		if _, ok, err := before.View(1).NodeAt(1); !ok || err != nil || before.System().Applied != 1 {
			t.Errorf("old snapshot: %v, %v, %+v", ok, err, before.System())
		}
		if _, ok, err := before.View(1).NodeAt(100); ok || err != nil {
			t.Errorf("old snapshot sees a new node: %v, %v", ok, err)
		}
		work(t, target, 78)
	})
}

func TestCheckpointKnowsItsSize(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		for n := uint64(1); n <= 20; n++ {
			work(t, s, n)
		}
		c, err := s.OpenCheckpoint()
		if err != nil {
			t.Fatal(err)
		}
		work(t, s, 21) // does not show in it
		read, err := io.ReadAll(iotest.DataErrReader(c))
		if err != nil || int64(len(read)) != c.Size() {
			t.Errorf("read %d bytes, %v; size is %d", len(read), err, c.Size())
		}
		if c.System().Applied != 20 {
			t.Errorf("checkpoint of %d, want 20", c.System().Applied)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read after the end: %d, %v", n, err)
		}
		for range 2 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		st, err := s.Stage(bytes.NewReader(read))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCheckpointOfAnEmptyStore(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		st, err := s.Stage(bytes.NewReader(streamOf(t, s)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Install(st, 3, 1); err != nil {
			t.Fatal(err)
		}
		if s.System().Applied != 3 {
			t.Errorf("applied %d, want 3", s.System().Applied)
		}
	})
}

func TestCutOffCheckpointsAreRefused(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		work(t, s, 1)
		stream := streamOf(t, s)
		for n := 0; n < len(stream); n += 1 + n/16 {
			if _, err := s.Stage(bytes.NewReader(stream[:n])); !errors.Is(err, ErrDamaged) {
				t.Errorf("%d of %d bytes: %v", n, len(stream), err)
			}
		}
		if _, err := s.Stage(bytes.NewReader(append(stream[:len(stream):len(stream)], 0))); !errors.Is(err, ErrDamaged) {
			t.Errorf("a byte too many: %v", err)
		}
		fault := errors.New("network")
		if _, err := s.Stage(io.MultiReader(bytes.NewReader(stream[:200]), iotest.ErrReader(fault))); !errors.Is(err, fault) {
			t.Errorf("a reader that fails: %v", err)
		}
	})
}

func TestChangedCheckpointsAreRefused(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		work(t, s, 1)
		stream := streamOf(t, s)
		for i := 0; i < len(stream); i += 1 + i/64 {
			changed := bytes.Clone(stream)
			changed[i] ^= 0x10
			st, err := s.Stage(bytes.NewReader(changed))
			if err == nil {
				st.Close()
				t.Errorf("byte %d of %d was changed, and nobody noticed", i, len(stream))
			}
		}
	})
}

// seal makes a stream from parts as a checkpoint has them: checksum after each, and the sum of all at the end.
func seal(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
		b = be32(b, crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	}
	b = append(b, checkpointEnd...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func testFile(name, content string) []byte {
	return append(encodeFileHead(name, int64(len(content))), content...)
}

func testHeader(kind byte, files uint32, content int64) []byte {
	return checkpointHeader{kind, files, content, new(System).encode()}.encode()
}

func TestForgedCheckpointsAreRefused(t *testing.T) {
	row := func(key, value string) string { return string(appendRow(nil, memoryRow{[]byte(key), []byte(value)})) }
	version := func(n uint32) []byte {
		h := testHeader(kindMemoryEngine, 0, 0)
		binary.BigEndian.PutUint32(h[len(checkpointMagic):], n)
		return h
	}
	header := func(kind byte, files uint32, content int64, rest ...[]byte) []byte {
		return seal(append([][]byte{testHeader(kind, files, content)}, rest...)...)
	}
	long := strings.Repeat("n", maxFileNameBytes+1)
	for name, c := range map[string]struct {
		stream []byte
		want   error
		says   string
	}{
		"later version":  {seal(version(checkpointVersion + 1)), ErrVersion, "version 2, at most 1 is known"},
		"version 0":      {seal(version(0)), ErrDamaged, "version 0"},
		"no checkpoint":  {seal([]byte("something else altogether")), ErrDamaged, "not a checkpoint"},
		"another engine": {header(9, 0, 0), nil, "kind 9"},
		"bytes missing":  {header(kindMemoryEngine, 0, 5), ErrDamaged, "5 bytes of files are missing"},
		"too many files": {header(kindMemoryEngine, maxFiles+1, 5), ErrDamaged, "out of bounds"},
		"too long":       {header(kindMemoryEngine, 1, maxContentBytes+1), ErrDamaged, "out of bounds"},
		"system of a later version": {
			seal(checkpointHeader{kindMemoryEngine, 0, 0, []byte{systemFormat + 1}}.encode()), ErrVersion, "format 2",
		},
		"a file more than declared": {header(kindMemoryEngine, 1, 2, testFile("rows", "xyz")), ErrDamaged, "2 are left"},
		"a name twice":              {header(kindMemoryEngine, 2, 0, testFile("rows", ""), testFile("rows", "")), ErrDamaged, `"rows"`},
		"a long name":               {header(kindMemoryEngine, 1, 0, testFile(long, "")), ErrDamaged, "256 bytes"},
		"a path":                    {header(kindMemoryEngine, 1, 0, testFile("../rows", "")), ErrDamaged, "no such file is known"},
		"rows out of order": {
			header(kindMemoryEngine, 1, 8, testFile("rows", row("b", "")+row("b", "x")[:3]+"\x01")), ErrDamaged, "out of order",
		},
		"a row cut off": {header(kindMemoryEngine, 1, 3, testFile("rows", "\x05ab")), ErrDamaged, "cut off"},
		"no value":      {header(kindMemoryEngine, 1, 2, testFile("rows", "\x01a")), ErrDamaged, "cut off"},
		"a huge key":    {header(kindMemoryEngine, 1, 4, testFile("rows", "\xff\xff\xff\x7f")), ErrDamaged, "at most"},
		"rows of another state": {
			seal(checkpointHeader{kindMemoryEngine, 0, 0, (&System{Applied: 4}).encode()}.encode()), ErrDamaged, "not of the state",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := closing(t, OpenMemory())
			_, err := s.Stage(bytes.NewReader(c.stream))
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %v that says %q", err, c.want, c.says)
			}
		})
	}
}

func TestNoPathOfACheckpointIsTrusted(t *testing.T) {
	fs := vfs.NewMem()
	s := openCrash(t, fs)
	defer s.Close()
	for _, name := range []string{
		"../000001.sst", "/000001.sst", "CURRENT", "LOCK", "OPTIONS-000003", "000001.sst/../../x", "000001.SST", "000004.log",
		"", ".", "000001.sst\x00", "000001.sst\n", "MANIFEST-000001.tmp",
	} {
		stream := seal(testHeader(kindPebbleEngine, 1, 3), testFile(name, "abc"))
		if _, err := s.Stage(bytes.NewReader(stream)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("name %q: %v", name, err)
		}
	}
	// Allowed names, but no database.
	stream := seal(testHeader(kindPebbleEngine, 1, 3), testFile("MANIFEST-000001", "abc"))
	if _, err := s.Stage(bytes.NewReader(stream)); !errors.Is(err, ErrDamaged) {
		t.Errorf("no database: %v", err)
	}
	wantNoLeftovers(t, fs)
}

func TestInstallIsRefused(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		work(t, s, 1)
		stream := streamOf(t, s)
		stage := func() *Staged {
			st, err := s.Stage(bytes.NewReader(stream))
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		b := s.Begin()
		if err := s.Install(stage(), 2, 2); err == nil || !strings.Contains(err.Error(), "batch is open") {
			t.Errorf("with an open batch: %v", err)
		}
		b.Discard()
		st := stage()
		if err := s.Install(st, 2, 2); err != nil {
			t.Fatal(err)
		}
		if err := s.Install(st, 3, 3); err == nil {
			t.Error("installed twice")
		}
		st = stage()
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Install(st, 3, 3); err == nil {
			t.Error("installed after it was closed")
		}
		st = stage()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Install(st, 3, 3); !errors.Is(err, ErrClosed) {
			t.Errorf("into a closed store: %v", err)
		}
	})
}

func TestAClosedStore(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		work(t, s, 1)
		stream := streamOf(t, s)
		sn := s.Snapshot()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := sn.View(1).NodeAt(1); !ok || err != nil {
			t.Errorf("a snapshot of a closed store: %v, %v", ok, err)
		}
		sn.Close()
		sn.Close()
		late := s.Snapshot()
		defer late.Close()
		_, _, byID := late.View(1).NodeByID("x")
		_, _, events := late.LastEvent(1)
		_, staged := s.Stage(bytes.NewReader(stream))
		_, checkpoint := s.OpenCheckpoint()
		_, written := s.WriteCheckpoint(io.Discard)
		for what, err := range map[string]error{
			"snapshot": late.Err(), "read": byID, "events": events, "flush": s.Flush(), "stage": staged, "checkpoint": checkpoint,
			"write": written, "rows": late.WalkRows(func(_, _ []byte) error { return nil }),
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if index, _ := s.DurableApplied(); index != 1 {
			t.Errorf("durable up to %d, want 1", index)
		}
		if err := s.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
	})
}

// FuzzStage: no stream harms; one that is taken holds what its header says.
func FuzzStage(f *testing.F) {
	source := OpenMemory()
	work(f, source, 1)
	f.Add(streamOf(f, source))
	f.Add(seal(testHeader(kindMemoryEngine, 1, 4), testFile("rows", "\x01a\x01b")))
	f.Add([]byte(checkpointMagic))
	for _, text := range samples.Texts(f, 400) {
		f.Add(seal(testHeader(kindMemoryEngine, 1, 4), testFile("rows", string(text))))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		s := OpenMemory()
		defer s.Close()
		st, err := s.Stage(bytes.NewReader(stream))
		if err != nil {
			return
		}
		if err := s.Install(st, 1, 1); err != nil {
			t.Fatal(err)
		}
		sn := s.Snapshot()
		defer sn.Close()
		err = sn.WalkRows(func(key, _ []byte) error {
			if len(key) == 0 {
				return fmt.Errorf("a row without a key")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
