//go:build !wasip1

package inspect

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/raftlog"
	"github.com/globalbusinessadvisors/llm-memory-graph/fsm"
)

// Keys that hashicorp/raft keeps in the stable store.
const (
	keyCurrentTerm  = "CurrentTerm"
	keyLastVoteTerm = "LastVoteTerm"
	keyLastVote     = "LastVoteCand"
)

// progressEvery is how many entries are read between two calls of Options.Progress.
const progressEvery = 256

// entries reads every entry of the log: it is sealed for its place, follows the one before it, and could be applied.
func (i *inspection) entries() error {
	if i.logs == nil {
		return nil
	}
	first, err := i.logs.FirstIndex()
	var last uint64
	if err == nil {
		last, err = i.logs.LastIndex()
	}
	if err != nil {
		i.damaged("", "%v", err)
		return nil
	}
	if first > last || (first == 0) != (last == 0) {
		i.damaged("", "runs from entry %d to %d", first, last)
		return nil
	}
	i.report.Log.First, i.report.Log.Last = first, last
	if first == 0 {
		return nil
	}
	for index := first; index <= last; index++ {
		i.entry(index)
		if index%progressEvery == 0 || index == last {
			if err := i.progress(StageLog, index-first+1, last-first+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// damaged tells of a fault of the log, which cannot be replayed then.
func (i *inspection) damaged(entry, format string, args ...any) {
	i.broken = true
	key := i.folder.Raft() + "/" + raftlog.FirstLog
	if entry != "" {
		key += ", " + entry
	}
	i.fault(FaultLog, "raft log", key, format, args...)
}

func (i *inspection) entry(index uint64) {
	var e raft.Log
	name := fmt.Sprintf("entry %d", index)
	err := i.logs.GetLog(index, &e)
	switch {
	case errors.Is(err, raft.ErrLogNotFound):
		i.broken = true
		i.fault(FaultGap, "raft log", i.folder.Raft()+"/"+raftlog.FirstLog+", "+name, "is not there, the log runs from %d to %d", i.report.Log.First, i.report.Log.Last)
		return
	case err != nil:
		i.damaged(name, "%v", err)
		return
	case e.Term < i.report.Log.Term:
		i.damaged(name, "is of term %d, the one before it of term %d", e.Term, i.report.Log.Term)
	}
	i.report.Log.Entries++
	i.report.Log.Bytes += uint64(len(e.Data) + len(e.Extensions))
	i.report.Log.Term = max(i.report.Log.Term, e.Term)
	switch e.Type {
	case raft.LogCommand:
		err = fsm.VerifyEntry(e.Data)
	case raft.LogConfiguration:
		_, err = decodeMembers(e.Data)
	case raft.LogNoop, raft.LogBarrier:
	default:
		err = fmt.Errorf("type %d is none that this release writes", e.Type)
	}
	if err != nil {
		i.damaged(name, "%v", err)
	}
}

// vote holds term and vote against the log.
func (i *inspection) vote() {
	if i.stable == nil {
		return
	}
	key := i.folder.Raft() + "/" + raftlog.StableFile
	read := func(name string) uint64 {
		n, err := i.stable.GetUint64([]byte(name))
		if err != nil && !errors.Is(err, raftlog.ErrKeyNotFound) {
			i.fault(FaultLog, "raft vote", key+", "+name, "%v", err)
		}
		return n
	}
	current, voted := read(keyCurrentTerm), read(keyLastVoteTerm)
	if _, err := i.stable.Get([]byte(keyLastVote)); err != nil && !errors.Is(err, raftlog.ErrKeyNotFound) {
		i.fault(FaultLog, "raft vote", key+", "+keyLastVote, "%v", err)
	}
	if current < i.report.Log.Term {
		i.fault(FaultLog, "raft vote", key, "is at term %d, the log at term %d", current, i.report.Log.Term)
	}
	if voted > current {
		i.fault(FaultLog, "raft vote", key, "has voted in term %d and is at term %d", voted, current)
	}
}
