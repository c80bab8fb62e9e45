package schema_test

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// TestListsSayMore: an answer that may leave rows out, because its request has a limit of them, has a token for the others.
func TestListsSayMore(t *testing.T) {
	limited := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("tandem.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				in, out := methods.Get(j).Input().Fields(), methods.Get(j).Output().Fields()
				if in.ByName("limit") == nil {
					continue
				}
				limited++
				if in.ByName("page_token") == nil || out.ByName("next_page_token") == nil {
					t.Errorf("%s does not say when there is more, or how to go on", methods.Get(j).FullName())
				}
			}
		}
		return true
	})
	if limited < 5 {
		t.Errorf("%d lists have a limit", limited)
	}
}
