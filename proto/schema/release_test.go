package schema_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// fields returns the fields of tandem.v1 in a set of files with their levels, 0 where none is said.
func fields(set *descriptorpb.FileDescriptorSet) map[string]int32 {
	all := map[string]int32{}
	var walk func(prefix string, messages []*descriptorpb.DescriptorProto)
	walk = func(prefix string, messages []*descriptorpb.DescriptorProto) {
		for _, m := range messages {
			name := prefix + "." + m.GetName()
			for _, f := range m.GetField() {
				level, _ := proto.GetExtension(f.GetOptions(), tandemv1.E_Level).(int32)
				all[name+"."+f.GetName()] = level
			}
			walk(name, m.GetNestedType())
		}
	}
	for _, f := range set.GetFile() {
		if f.GetPackage() == "tandem.v1" {
			walk(f.GetPackage(), f.GetMessageType())
		}
	}
	return all
}

// unleveled returns the fields that are new since a release and do not say a level above all that it knew.
func unleveled(release, now map[string]int32) []string {
	var known int32
	if _, ok := release["tandem.v1.Command.level"]; ok {
		known = schema.Base // the first release knows no levels
	}
	for _, level := range release {
		known = max(known, level)
	}
	var missing []string
	for name, level := range now {
		if _, old := release[name]; !old && max(level, 1) <= known {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

func current() *descriptorpb.FileDescriptorSet {
	set := &descriptorpb.FileDescriptorSet{}
	protoregistry.GlobalFiles.RangeFilesByPackage("tandem.v1", func(f protoreflect.FileDescriptor) bool {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
		return true
	})
	return set
}

// TestNewFieldsSayTheirLevel: what the last release does not have came with a level that it does not know either.
func TestNewFieldsSayTheirLevel(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", ".ci", "release.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	release := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(data, release); err != nil {
		t.Fatal(err)
	}
	if len(fields(release)) < 300 {
		t.Fatalf("the last release has %d fields", len(fields(release)))
	}
	for _, name := range unleveled(fields(release), fields(current())) {
		t.Errorf("%s is newer than the last release and does not say its feature level: set the option (tandem.v1.level)", name)
	}
	// Were this the last release, a new field of level 1 or 2 would be found, and one of level 3 would not.
	before, now := fields(current()), fields(current())
	delete(before, "tandem.v1.Program.version")
	delete(before, "tandem.v1.Command.quarantine")
	now["tandem.v1.Program.new"] = 3
	if got, want := unleveled(before, now), []string{"tandem.v1.Command.quarantine", "tandem.v1.Program.version"}; !slices.Equal(got, want) {
		// The row of quarantined entries has level 2 as well, so that the release knows it.
		t.Errorf("new fields without their level: %v, want %v", got, want)
	}
}
