package rpc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"github.com/globalbusinessadvisors/llm-memory-graph/fsm/store"
	"github.com/globalbusinessadvisors/llm-memory-graph/graph"
)

// A token is opaque to callers: version u8 | lineage u32 | tenant u32 | what it belongs to, 16 bytes | place, 16 bytes |
// MAC, 16 bytes; base64url. The MAC keeps it from naming anything that the server did not.
const (
	tokenVersion  = 1
	tokenPartSize = 16
	selectionAt   = 1 + 4 + 4
	tokenSize     = selectionAt + 3*tokenPartSize
	tokenField    = "page_token"
)

// tokens makes and reads the tokens of one selection of one tenant.
type tokens struct {
	system    store.System
	tenant    graph.Tenant
	selection [tokenPartSize]byte
	field     string
}

// pages are the tokens of a request from which all that may differ between pages has been taken away.
func (st *state) pages(ctx context.Context, selection proto.Message) tokens {
	t := tokens{system: st.System(), tenant: tenantOf(ctx), field: tokenField}
	h := sha256.New()
	h.Write([]byte(selection.ProtoReflect().Descriptor().FullName() + "\x00"))
	h.Write(graph.Encode(selection))
	copy(t.selection[:], h.Sum(nil))
	return t
}

// token names a place; "" for none.
func (t tokens) token(p *graph.Place) string {
	if p == nil {
		return ""
	}
	return t.seal(uint64(p.Time), uint64(p.Position))
}

// place reads a token; nil for "".
func (t tokens) place(token string) (*graph.Place, error) {
	if token == "" {
		return nil, nil
	}
	time, position, err := t.open(token)
	if err != nil {
		return nil, err
	}
	return &graph.Place{Time: int64(time), Position: graph.Position(position)}, nil
}

// seal makes a token of two numbers.
func (t tokens) seal(a, b uint64) string {
	raw := make([]byte, 0, tokenSize)
	raw = append(raw, tokenVersion)
	raw = binary.BigEndian.AppendUint32(raw, t.system.Lineage)
	raw = binary.BigEndian.AppendUint32(raw, uint32(t.tenant))
	raw = append(raw, t.selection[:]...)
	raw = binary.BigEndian.AppendUint64(raw, a)
	raw = binary.BigEndian.AppendUint64(raw, b)
	return base64.RawURLEncoding.EncodeToString(append(raw, t.mac(raw)...))
}

// mac signs what a token says, the lineage too: a restored graph has the same key.
func (t tokens) mac(raw []byte) []byte {
	h := hmac.New(sha256.New, t.system.Key[:])
	h.Write([]byte("token"))
	h.Write(raw)
	return h.Sum(nil)[:tokenPartSize]
}

// decode takes a token out of its envelope, unchecked.
func (t tokens) decode(token string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != tokenSize || raw[0] != tokenVersion {
		return nil, graph.Invalidf(t.field, "is none that this server made")
	}
	return raw, nil
}

// peek reads what a token says that it belongs to.
func (t tokens) peek(token string) (selection [tokenPartSize]byte, err error) {
	raw, err := t.decode(token)
	if err == nil {
		selection = [tokenPartSize]byte(raw[selectionAt:])
	}
	return selection, err
}

// open reads the two numbers of a token.
func (t tokens) open(token string) (a, b uint64, err error) {
	raw, err := t.decode(token)
	if err != nil {
		return 0, 0, err
	}
	if lineage := binary.BigEndian.Uint32(raw[1:]); lineage != t.system.Lineage {
		return 0, 0, lineageChanged(t.field, lineage, t.system.Lineage)
	}
	signed := raw[:tokenSize-tokenPartSize]
	if !hmac.Equal(t.mac(signed), raw[len(signed):]) {
		return 0, 0, graph.Invalidf(t.field, "is none that this server made")
	}
	if graph.Tenant(binary.BigEndian.Uint32(raw[5:])) != t.tenant || [tokenPartSize]byte(raw[selectionAt:]) != t.selection {
		return 0, 0, graph.Invalidf(t.field, "belongs to another request")
	}
	place := signed[len(signed)-tokenPartSize:]
	return binary.BigEndian.Uint64(place), binary.BigEndian.Uint64(place[8:]), nil
}

// lineageChanged refuses a place in a history that is not this one (D5).
func lineageChanged(field string, given, current uint32) error {
	return &notedError{
		err: &graph.Error{Kind: graph.Precondition, Field: field, Reason: graph.ReasonLineage, Message: field + ": is of lineage " +
			formatLineage(given) + ", but the graph was restored or recovered since and is of lineage " + formatLineage(current)},
		notes: map[string]string{"lineage": formatLineage(current)},
	}
}
