package schema

import (
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Feature levels. What a release adds to the schema carries the next level; a cluster writes nothing above its own.
const (
	// Base is the level of all that says none.
	Base = 1
	// Known is the highest level that this program knows.
	Known = newest - behind
	// newest is the highest level in this schema. A release raises it by one at most.
	newest = 2
)

// Level returns the highest feature level of what m holds.
func Level(m proto.Message) int { return levelOf(m.ProtoReflect()) }

// levels are the levels of the fields and values that say one.
var levels = sync.OnceValue(func() map[protoreflect.FullName]int {
	all := map[protoreflect.FullName]int{}
	protoregistry.GlobalFiles.RangeFilesByPackage("tandem.v1", func(f protoreflect.FileDescriptor) bool {
		collect(all, f.Messages(), f.Enums())
		return true
	})
	return all
})

func collect(all map[protoreflect.FullName]int, messages protoreflect.MessageDescriptors, enums protoreflect.EnumDescriptors) {
	for i := range messages.Len() {
		m := messages.Get(i)
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			if level := proto.GetExtension(f.Options(), tandemv1.E_Level).(int32); level != 0 {
				all[f.FullName()] = int(level)
			}
		}
		collect(all, m.Messages(), m.Enums())
	}
	for i := range enums.Len() {
		for j := range enums.Get(i).Values().Len() {
			v := enums.Get(i).Values().Get(j)
			if level := proto.GetExtension(v.Options(), tandemv1.E_ValueLevel).(int32); level != 0 {
				all[v.FullName()] = int(level)
			}
		}
	}
}

// named is the level of a field or value.
func named(name protoreflect.FullName) int {
	if level, ok := levels()[name]; ok {
		return level
	}
	return Base
}

// levelOfValue is the level of one value of a field.
func levelOfValue(f protoreflect.FieldDescriptor, v protoreflect.Value) int {
	switch {
	case f.Message() != nil:
		return levelOf(v.Message())
	case f.Enum() != nil:
		if value := f.Enum().Values().ByNumber(v.Enum()); value != nil {
			return named(value.FullName())
		}
	}
	return Base
}

func levelOf(m protoreflect.Message) int {
	level := Base
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		level = max(level, named(f.FullName()))
		each(f, v, func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			level = max(level, levelOfValue(f, v))
			return true
		})
		return true
	})
	return level
}

func trim(m protoreflect.Message, level int) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if named(f.FullName()) > level {
			m.Clear(f)
			return true
		}
		each(f, v, func(of protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if of.Message() != nil {
				trim(v.Message(), level)
			} else if levelOfValue(of, v) > level {
				m.Clear(f)
			}
			return true
		})
		return true
	})
}

// each calls do with each value of a field and what describes the value, as long as it returns true.
func each(f protoreflect.FieldDescriptor, v protoreflect.Value, do func(protoreflect.FieldDescriptor, protoreflect.Value) bool) {
	switch {
	case f.IsMap():
		v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { return do(f.MapValue(), v) })
	case f.IsList():
		for i := range v.List().Len() {
			if !do(f, v.List().Get(i)) {
				return
			}
		}
	default:
		do(f, v)
	}
}
