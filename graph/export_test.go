package graph

import "google.golang.org/protobuf/proto"

// Seams for the tests outside of the package.

// EncodeByReflection encodes without what is written out for single messages.
func EncodeByReflection(m proto.Message) []byte { return appendMessage(nil, m.ProtoReflect()) }
