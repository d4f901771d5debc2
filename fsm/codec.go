package fsm

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
)

// An entry is `version u8 | codec u8 | body`: body is a logpb.Entry. Entries are read for ever.
const (
	entryVersion  = 1
	codecPlain    = 0
	entryEnvelope = 2
)

// EncodeEntry packs stamped commands into the data of one log entry.
func EncodeEntry(commands []*logpb.Stamped) ([]byte, error) {
	b := append(make([]byte, 0, 256), entryVersion, codecPlain)
	return proto.MarshalOptions{}.MarshalAppend(b, &logpb.Entry{Commands: commands})
}

// DecodeEntry unpacks the data of a log entry.
func DecodeEntry(data []byte) ([]*logpb.Stamped, error) {
	if len(data) < entryEnvelope {
		return nil, fmt.Errorf("log entry of %d bytes is too short", len(data))
	}
	if data[0] != entryVersion {
		return nil, fmt.Errorf("log entry version %d is newer than this program, which knows %d", data[0], entryVersion)
	}
	if data[1] != codecPlain {
		return nil, fmt.Errorf("log entry codec %d is unknown to this program", data[1])
	}
	var e logpb.Entry
	if err := proto.Unmarshal(data[entryEnvelope:], &e); err != nil {
		return nil, fmt.Errorf("log entry: %w", err)
	}
	return e.Commands, nil
}

// EncodeCommand encodes a command for a proposal, and makes sure that every replica will be able to decode it: proto makes
// no bytes that it does not read, the rest is checked.
func EncodeCommand(c *logpb.Command) ([]byte, error) {
	if err := checkCommand(c); err != nil {
		return nil, err
	}
	return proto.Marshal(c)
}

// DecodeCommand decodes what EncodeCommand made, and refuses what this program cannot apply.
func DecodeCommand(b []byte) (*logpb.Command, error) {
	c := &logpb.Command{}
	if err := proto.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	if err := checkCommand(c); err != nil {
		return nil, err
	}
	return c, nil
}

// checkCommand refuses what this program cannot apply.
func checkCommand(c *logpb.Command) error {
	if n := len(c.RequestId); n != 0 && n != RequestIDBytes {
		return fmt.Errorf("command: request id of %d bytes, want %d", n, RequestIDBytes)
	}
	if c.Operation == nil && !isProbe(c) {
		return errors.New("command: no operation known to this program")
	}
	level := max(c.GetRaiseFeatureLevel().GetLevel(), c.GetBootstrap().GetFeatureLevel())
	if level > FeatureLevel {
		return fmt.Errorf("command: feature level %d is newer than this program, which knows %d", level, FeatureLevel)
	}
	return nil
}

// fieldRequestID is the number of request_id in a command.
const fieldRequestID = 2

// Repeatable reports whether an encoded command has a request id: then it takes effect once, however often it is proposed within the
// life of the row of that id.
func Repeatable(command []byte) bool {
	for len(command) > 0 {
		number, kind, n := protowire.ConsumeTag(command)
		if n < 0 || number > fieldRequestID { // fields are encoded in ascending order
			return false
		}
		command = command[n:]
		if number == fieldRequestID && kind == protowire.BytesType {
			id, n := protowire.ConsumeBytes(command)
			return n > 0 && len(id) == RequestIDBytes
		}
		if n = protowire.ConsumeFieldValue(number, kind, command); n < 0 {
			return false
		}
		command = command[n:]
	}
	return false
}
