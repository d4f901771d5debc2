package proto_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	logpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/log/v1"
	graphpb "github.com/globalbusinessadvisors/llm-memory-graph/proto/llm/memory/graph/v1"
)

// TestFieldsAreDeclaredInAscendingOrder guards what the canonical encoder of graph relies on: encoding fields in the order of
// declaration is encoding them in the order of their numbers.
func TestFieldsAreDeclaredInAscendingOrder(t *testing.T) {
	packages := []protoreflect.FullName{
		graphpb.File_llm_memory_graph_v1_memory_graph_proto.Package(),
		logpb.File_llm_memory_graph_log_v1_log_proto.Package(),
	}
	var messages int
	for _, name := range packages {
		protoregistry.GlobalFiles.RangeFilesByPackage(name, func(f protoreflect.FileDescriptor) bool {
			messages += checkFieldOrder(t, f.Messages())
			return true
		})
	}
	if messages < 50 {
		t.Errorf("only %d messages were looked at", messages)
	}
}

func checkFieldOrder(t *testing.T, messages protoreflect.MessageDescriptors) (seen int) {
	for i := range messages.Len() {
		m := messages.Get(i)
		var last protoreflect.FieldNumber
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			if f.Number() <= last {
				t.Errorf("%s = %d is declared after number %d", f.FullName(), f.Number(), last)
			}
			last = f.Number()
		}
		seen += 1 + checkFieldOrder(t, m.Messages())
	}
	return seen
}

// TestOnlyStubsImportGRPC: a program that needs the messages alone, such as a plugin, must not link gRPC.
func TestOnlyStubsImportGRPC(t *testing.T) {
	const (
		module   = "github.com/globalbusinessadvisors/llm-memory-graph"
		protobuf = "google.golang.org/protobuf/"
		stubs    = "graphgrpc"
	)
	var stubFiles int
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		if path.Base(path.Dir(name)) == stubs {
			stubFiles++
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(name), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
			message := strings.HasPrefix(imported, module+"/proto/") && path.Base(imported) != stubs
			if !standard && !message && !strings.HasPrefix(imported, protobuf) {
				t.Errorf("%s imports %s", name, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if stubFiles == 0 {
		t.Errorf("no stubs found in %s", stubs)
	}
}
