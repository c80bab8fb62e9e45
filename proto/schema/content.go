package schema

import (
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Content returns what a request asks for: a copy without its request_id and without fields that differ each time the same is asked.
func Content(request proto.Message) proto.Message {
	m := proto.Clone(request).ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		if passing := proto.GetExtension(f.Options(), tandemv1.E_Passing).(bool); passing || f.Name() == "request_id" {
			m.Clear(f)
		}
	}
	return m.Interface()
}
