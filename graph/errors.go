package graph

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind classes a refusal. The numbers are stored in exactly-once rows: never reuse one.
type Kind uint32

// The kinds. Each is an error, so that errors.Is(err, graph.NotFound) works on every refusal of that kind.
const (
	// NotFound: the thing named is not there.
	NotFound Kind = 1
	// Invalid: the input breaks a rule whatever the state is; Field names where.
	Invalid Kind = 2
	// Exists: the id is in use.
	Exists Kind = 3
	// Precondition: the state forbids it.
	Precondition Kind = 4
	// Stale: a compare-and-set lost; read again.
	Stale Kind = 5
	// Exhausted: a budget or size bound was met.
	Exhausted Kind = 6
	// OutOfRange: a position before what is retained.
	OutOfRange Kind = 7
)

var kindNames = [...]string{"", "not found", "invalid", "already exists", "failed precondition", "stale", "exhausted", "out of range"}

// Error makes a Kind usable as the target of errors.Is.
func (k Kind) Error() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// Error is a refusal: the same on every replica, and kept by exactly-once rows, so it holds ids but never content.
type Error struct {
	Kind Kind
	// Message is for people; it needs no prefix.
	Message string
	// Field is the path of the request's field at fault, as in the proto: `node.prompt.content`.
	Field string
	// Reason is a constant in UPPER_SNAKE_CASE for programs, or empty.
	Reason string
	// ResourceType and ResourceName name the thing that is missing or in the way.
	ResourceType, ResourceName string
}

func (e *Error) Error() string { return e.Message }

// Is reports whether target is the kind of e.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// Reasons that programs may rely on.
const (
	ReasonKeyReused     = "IDEMPOTENCY_KEY_REUSED"
	ReasonResultDeleted = "RESULT_SINCE_DELETED"
	ReasonLineage       = "LINEAGE_CHANGED"
	ReasonSessionClosed = "SESSION_CLOSED"
	ReasonTemplateStale = "TEMPLATE_STALE"
	ReasonBudget        = "SCAN_BUDGET"
	ReasonAutomaticEdge = "AUTOMATIC_EDGE"
)

func invalid(field, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Field: field, Message: field + ": " + fmt.Sprintf(format, args...)}
}

// Invalidf is a refusal of bad input in the named field.
func Invalidf(field, format string, args ...any) *Error { return invalid(field, format, args...) }

// Moved is a refusal whose field stands elsewhere in the request than in the record that was refused: under to, not from.
// Other errors stay as they are.
func Moved(err error, from, to string) error {
	e, ok := err.(*Error)
	if !ok || !strings.HasPrefix(e.Field, from) {
		return err
	}
	moved := *e
	moved.Field = to + e.Field[len(from):]
	if rest, ok := strings.CutPrefix(e.Message, e.Field+": "); ok {
		moved.Message = moved.Field + ": " + rest
	}
	return &moved
}

// element is the path of an element of a list in the request.
func element(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]." }

func missing(resource, label, id string) *Error {
	return &Error{Kind: NotFound, Message: label + " not found: " + id, ResourceType: resource, ResourceName: id}
}

func exists(resource, id string) *Error {
	return &Error{Kind: Exists, Message: fmt.Sprintf("%s %s already exists", resource, id), ResourceType: resource, ResourceName: id}
}

func precondition(reason, resource, id, format string, args ...any) *Error {
	return &Error{Kind: Precondition, Reason: reason, Message: fmt.Sprintf(format, args...), ResourceType: resource, ResourceName: id}
}
