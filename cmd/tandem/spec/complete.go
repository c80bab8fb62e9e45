package spec

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Complete returns the paths that --set may begin with, up to the next level: "training." for what has keys of its own, "priority=" for a
// value. What stands under names that the user chooses, such as those of a search space, is not known.
func Complete(begun string) []string {
	md := (&tandemv1.JobSpec{}).ProtoReflect().Descriptor()
	levels := strings.Split(begun, ".")
	path := ""
	for _, level := range levels[:len(levels)-1] {
		f := md.Fields().ByName(protoreflect.Name(level))
		if f == nil || !hasKeys(f) {
			return nil
		}
		md, path = f.Message(), path+level+"."
	}
	var paths []string
	for _, key := range keys(md) {
		if !strings.HasPrefix(path+key, begun) {
			continue
		}
		end := "="
		if hasKeys(md.Fields().ByName(protoreflect.Name(key))) {
			end = "."
		}
		paths = append(paths, path+key+end)
	}
	return paths
}

// hasKeys tells whether a key holds other keys.
func hasKeys(f protoreflect.FieldDescriptor) bool {
	return f.Message() != nil && !f.IsList() && !f.IsMap() && !plain(f.Message())
}
