// Command protogen compiles the protocol files of this repository and writes their Go code, without protoc.
//
// Messages go into the Go package that the file names. Services go into a package of their own beside it (graphgrpc), so
// that a program which needs only the messages does not link gRPC. With -descriptor it also writes the descriptor set of
// one more file, which is compiled on its own: the published contract that the repository compares itself with.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	module      = "github.com/globalbusinessadvisors/llm-memory-graph/proto/"
	stubPackage = "graphgrpc"
)

// stubSource is where the stubs say that they come from, as the generator sees it.
var stubSource = regexp.MustCompile(`/` + stubPackage + `/(\w+\.proto)`)

func main() {
	root := flag.String("root", "proto", "folder of the .proto files; generated code lands beside them")
	descriptor := flag.String("descriptor", "", "a .proto file of which to write the descriptor set beside it, as .binpb")
	flag.Parse()
	if err := run(*root); err != nil {
		log.Fatal(err)
	}
	if *descriptor == "" {
		return
	}
	if err := writeDescriptor(*descriptor); err != nil {
		log.Fatal(err)
	}
}

// writeDescriptor writes the file alone, without its imports and comments, in the one encoding that never varies.
func writeDescriptor(name string) error {
	dir, base := filepath.Split(name)
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
	}
	files, err := compiler.Compile(context.Background(), base)
	if err != nil {
		return err
	}
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(files[0])}}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(name, ".proto")+".binpb", encoded, 0o644)
}

func run(root string) error {
	names, err := protoFiles(root)
	if err != nil {
		return err
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return err
	}
	all := closure(files)
	if err := generate(root, "protoc-gen-go", names, all); err != nil {
		return err
	}
	stubs, withStubs := splitServices(all, names)
	return generate(root, "protoc-gen-go-grpc", stubs, withStubs)
}

// protoFiles lists what is compiled into this program: test data is not.
func protoFiles(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(p string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == "testdata" {
			return filepath.SkipDir
		}
		if err == nil && strings.HasSuffix(p, ".proto") {
			rel, relErr := filepath.Rel(root, p)
			names = append(names, filepath.ToSlash(rel))
			return relErr
		}
		return err
	})
	return names, err
}

// closure lists the files and their imports, imports first.
func closure(files linker.Files) []*descriptorpb.FileDescriptorProto {
	var all []*descriptorpb.FileDescriptorProto
	seen := map[string]bool{}
	var visit func(protoreflect.FileDescriptor)
	visit = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			visit(f.Imports().Get(i).FileDescriptor)
		}
		all = append(all, protodesc.ToFileDescriptorProto(f))
	}
	for _, f := range files {
		visit(f)
	}
	return all
}

// splitServices moves the services of each named file, with their comments, into a file of their own that imports it.
func splitServices(all []*descriptorpb.FileDescriptorProto, names []string) ([]string, []*descriptorpb.FileDescriptorProto) {
	var stubs []string
	var out, moved []*descriptorpb.FileDescriptorProto
	for _, f := range all {
		if len(f.Service) == 0 || !slices.Contains(names, f.GetName()) {
			out = append(out, f)
			continue
		}
		dir, base := path.Split(f.GetName())
		stub := &descriptorpb.FileDescriptorProto{
			Name:           proto.String(dir + stubPackage + "/" + base),
			Package:        f.Package,
			Syntax:         f.Syntax,
			Dependency:     append([]string{f.GetName()}, f.Dependency...),
			Service:        f.Service,
			Options:        &descriptorpb.FileOptions{GoPackage: proto.String(module + dir + stubPackage + ";" + stubPackage)},
			SourceCodeInfo: serviceComments(f.SourceCodeInfo),
		}
		messages := proto.Clone(f).(*descriptorpb.FileDescriptorProto)
		messages.Service = nil
		out = append(out, messages)
		moved = append(moved, stub)
		stubs = append(stubs, stub.GetName())
	}
	return stubs, append(out, moved...)
}

const serviceField = 6 // of FileDescriptorProto

func serviceComments(info *descriptorpb.SourceCodeInfo) *descriptorpb.SourceCodeInfo {
	kept := &descriptorpb.SourceCodeInfo{}
	for _, l := range info.GetLocation() {
		if len(l.Path) > 0 && l.Path[0] == serviceField {
			kept.Location = append(kept.Location, l)
		}
	}
	return kept
}

func generate(root, plugin string, names []string, all []*descriptorpb.FileDescriptorProto) error {
	req, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      all,
	})
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "tool", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(req), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", plugin, err)
	}
	var resp pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &resp); err != nil {
		return fmt.Errorf("%s: reply: %w", plugin, err)
	}
	if resp.Error != nil {
		return fmt.Errorf("%s: %s", plugin, resp.GetError())
	}
	for _, f := range resp.File {
		name := filepath.Join(root, filepath.FromSlash(f.GetName()))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		// The stubs' file exists only for the generator: what they name as their source is the file people read.
		content := stubSource.ReplaceAllString(f.GetContent(), "/$1")
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
