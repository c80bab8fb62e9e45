package schema

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Access returns who may call a procedure such as "/tandem.v1.JobService/GetJob"; nobody may call one that does not exist.
func Access(procedure string) tandemv1.Access {
	m := Method(procedure)
	if m == nil {
		return tandemv1.Access_ACCESS_UNSPECIFIED
	}
	return proto.GetExtension(m.Options(), tandemv1.E_Access).(tandemv1.Access)
}

// Method returns the method that is served at a procedure's path; nil when there is none.
func Method(procedure string) protoreflect.MethodDescriptor {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(procedure, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil
	}
	m, _ := d.(protoreflect.MethodDescriptor)
	return m
}

// Services returns all services of tandem.v1 in the order of their names' files.
func Services() []protoreflect.ServiceDescriptor {
	var all []protoreflect.ServiceDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage("tandem.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			all = append(all, f.Services().Get(i))
		}
		return true
	})
	return all
}

// Procedure is the path at which a method is served.
func Procedure(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

// Kind returns the field of Command that a command sets, which is its kind; nil when it has none.
func Kind(cmd *tandemv1.Command) protoreflect.FieldDescriptor {
	m := cmd.ProtoReflect()
	return m.WhichOneof(m.Descriptor().Oneofs().ByName("command"))
}

// Repeatable says whether proposing a command twice is the same as proposing it once: clients' commands with a request id,
// and the kinds that are marked so.
func Repeatable(cmd *tandemv1.Command) bool {
	if cmd.GetRequestId() != "" {
		return true
	}
	kind := Kind(cmd)
	return kind != nil && proto.GetExtension(kind.Options(), tandemv1.E_Repeatable).(bool)
}

// Row is a kind of row of the state.
type Row struct {
	// Record is its field of SnapshotRecord; the name is that of its table.
	Record protoreflect.FieldDescriptor
	// Key is the field of the row that identifies it.
	Key protoreflect.FieldDescriptor
}

// Rows returns the kinds of rows in the order in which a snapshot has them, that of the numbers of their fields.
func Rows() []Row {
	var rows []Row
	fields := (&tandemv1.SnapshotRecord{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if key := proto.GetExtension(f.Options(), tandemv1.E_Row).(string); key != "" {
			rows = append(rows, Row{Record: f, Key: f.Message().Fields().ByName(protoreflect.Name(key))})
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Record.Number(), b.Record.Number()) })
	return rows
}
