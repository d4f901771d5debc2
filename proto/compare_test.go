package proto_test

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// firstAddedNumber is the lowest number of a field or enum value that the published contract does not have.
const firstAddedNumber = 100

// index maps every service, call, message, field, oneof, enum and enum value of a file to its descriptor.
func index(file protoreflect.FileDescriptor) map[protoreflect.FullName]protoreflect.Descriptor {
	all := map[protoreflect.FullName]protoreflect.Descriptor{}
	indexMessages(all, file.Messages())
	indexEnums(all, file.Enums())
	for i := range file.Services().Len() {
		s := file.Services().Get(i)
		all[s.FullName()] = s
		for j := range s.Methods().Len() {
			all[s.Methods().Get(j).FullName()] = s.Methods().Get(j)
		}
	}
	return all
}

func indexMessages(all map[protoreflect.FullName]protoreflect.Descriptor, messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		m := messages.Get(i)
		all[m.FullName()] = m
		for j := range m.Fields().Len() {
			all[m.Fields().Get(j).FullName()] = m.Fields().Get(j)
		}
		indexMessages(all, m.Messages())
		indexEnums(all, m.Enums())
	}
}

func indexEnums(all map[protoreflect.FullName]protoreflect.Descriptor, enums protoreflect.EnumDescriptors) {
	for i := range enums.Len() {
		e := enums.Get(i)
		all[e.FullName()] = e
		for j := range e.Values().Len() {
			all[e.Values().Get(j).FullName()] = e.Values().Get(j)
		}
	}
}

// compareContracts lists, sorted, how ours departs from the published contract other than by an allowed addition.
func compareContracts(published, ours map[protoreflect.FullName]protoreflect.Descriptor, allowed map[protoreflect.FullName]string) []string {
	var differences []string
	for name, want := range published {
		got := ours[name]
		if got == nil {
			differences = append(differences, fmt.Sprintf("%s: missing", name))
			continue
		}
		differences = append(differences, compareTraits(name, traits(got), traits(want))...)
	}
	for name, got := range ours {
		if published[name] == nil {
			if refusal := refuseAddition(got, published, allowed); refusal != "" {
				differences = append(differences, refusal)
			}
		}
	}
	slices.Sort(differences)
	return differences
}

// refuseAddition says why something new may not be added, or nothing.
func refuseAddition(d protoreflect.Descriptor, published map[protoreflect.FullName]protoreflect.Descriptor, allowed map[protoreflect.FullName]string) string {
	if _, ok := allowed[d.FullName()]; ok || insideAddition(d, published) {
		return ""
	}
	var number int32
	switch d := d.(type) {
	case protoreflect.FieldDescriptor:
		number = int32(d.Number())
	case protoreflect.EnumValueDescriptor:
		number = int32(d.Number())
	default:
		return fmt.Sprintf("%s: added, but not listed as an addition", d.FullName())
	}
	if number < firstAddedNumber {
		return fmt.Sprintf("%s: added with number %d, additions start at %d", d.FullName(), number, firstAddedNumber)
	}
	return ""
}

// insideAddition reports whether the parent is itself new: then the parent is what needs to be allowed. The entry message
// of a map belongs to the field of the map.
func insideAddition(d protoreflect.Descriptor, published map[protoreflect.FullName]protoreflect.Descriptor) bool {
	if m, ok := d.(protoreflect.MessageDescriptor); ok && m.IsMapEntry() {
		return true
	}
	if _, topLevel := d.Parent().(protoreflect.FileDescriptor); topLevel {
		return false
	}
	return published[d.Parent().FullName()] == nil
}

// trait is one property that two contracts must agree on.
type trait struct {
	name  string
	value any
}

func compareTraits(name protoreflect.FullName, got, want []trait) []string {
	if got, want := kind(got), kind(want); got != want {
		return []string{fmt.Sprintf("%s: kind is %v, published as %v", name, got, want)}
	}
	var differences []string
	for i := range want {
		if got[i] != want[i] {
			differences = append(differences, fmt.Sprintf("%s: %s %v, published as %v", name, got[i].name, got[i].value, want[i].value))
		}
	}
	return differences
}

// kind reads the first trait, which every descriptor has.
func kind(traits []trait) any { return traits[0].value }

// traits lists what of a descriptor is seen on the wire or by generated code.
func traits(d protoreflect.Descriptor) []trait {
	switch d := d.(type) {
	case protoreflect.ServiceDescriptor:
		return []trait{{"kind is", "service"}}
	case protoreflect.MethodDescriptor:
		return []trait{
			{"kind is", "call"},
			{"input is", d.Input().FullName()},
			{"output is", d.Output().FullName()},
			{"client streaming is", d.IsStreamingClient()},
			{"server streaming is", d.IsStreamingServer()},
		}
	case protoreflect.MessageDescriptor:
		return []trait{{"kind is", "message"}, {"syntax is", d.ParentFile().Syntax()}, {"map entry is", d.IsMapEntry()}}
	case protoreflect.FieldDescriptor:
		return fieldTraits(d)
	case protoreflect.EnumDescriptor:
		return []trait{{"kind is", "enum"}, {"closed is", d.IsClosed()}}
	case protoreflect.EnumValueDescriptor:
		return []trait{{"kind is", "enum value"}, {"number is", d.Number()}}
	default:
		panic(fmt.Sprintf("no traits for %T", d))
	}
}

func fieldTraits(d protoreflect.FieldDescriptor) []trait {
	refersTo, oneof := protoreflect.FullName("none"), protoreflect.Name("none")
	if d.Message() != nil {
		refersTo = d.Message().FullName()
	}
	if d.Enum() != nil {
		refersTo = d.Enum().FullName()
	}
	if o := d.ContainingOneof(); o != nil && !o.IsSynthetic() {
		oneof = o.Name()
	}
	return []trait{
		{"kind is", "field"},
		{"number is", d.Number()},
		{"type is", d.Kind()},
		{"cardinality is", d.Cardinality()},
		{"proto3 optional is", d.HasOptionalKeyword()},
		{"presence is", d.HasPresence()},
		{"oneof is", oneof},
		{"json name is", d.JSONName()},
		{"map is", d.IsMap()},
		{"packed is", d.IsPacked()},
		{"refers to", refersTo},
	}
}

// What follows finds and makes the parts of a file that the negative tests break.

func message(file *descriptorpb.FileDescriptorProto, name string) *descriptorpb.DescriptorProto {
	i := slices.IndexFunc(file.MessageType, func(m *descriptorpb.DescriptorProto) bool { return m.GetName() == name })
	return file.MessageType[i]
}

func field(file *descriptorpb.FileDescriptorProto, in, name string) *descriptorpb.FieldDescriptorProto {
	fields := message(file, in).Field
	i := slices.IndexFunc(fields, func(f *descriptorpb.FieldDescriptorProto) bool { return f.GetName() == name })
	return fields[i]
}

func enum(file *descriptorpb.FileDescriptorProto, name string) *descriptorpb.EnumDescriptorProto {
	i := slices.IndexFunc(file.EnumType, func(e *descriptorpb.EnumDescriptorProto) bool { return e.GetName() == name })
	return file.EnumType[i]
}

func method(file *descriptorpb.FileDescriptorProto, name string) *descriptorpb.MethodDescriptorProto {
	methods := file.Service[0].Method
	i := slices.IndexFunc(methods, func(m *descriptorpb.MethodDescriptorProto) bool { return m.GetName() == name })
	return methods[i]
}

func newField(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
	return &descriptorpb.FieldDescriptorProto{
		Name:     proto.String(name),
		JsonName: proto.String(name),
		Number:   proto.Int32(number),
		Type:     kind.Enum(),
		Label:    descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
}

// makeImplicit takes `optional` from a field, with the one-member oneof that stands for it.
func makeImplicit(m *descriptorpb.DescriptorProto, name string) {
	for _, f := range m.Field {
		if f.GetName() != name {
			continue
		}
		gone := f.GetOneofIndex()
		f.Proto3Optional, f.OneofIndex = nil, nil
		m.OneofDecl = slices.Delete(m.OneofDecl, int(gone), int(gone)+1)
		for _, other := range m.Field {
			if other.OneofIndex != nil && other.GetOneofIndex() > gone {
				other.OneofIndex = proto.Int32(other.GetOneofIndex() - 1)
			}
		}
	}
}
