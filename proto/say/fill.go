package say

import (
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Fill puts the text of all events and reasons into an answer, made for a face. Only the answer itself is changed: rows in it, which
// may be shared, are copied. now, which may be nil, says better than a row why it is as it is; nil: the row knows best.
func Fill(answer proto.Message, f Face, now func(row proto.Message) *tandemv1.Reason) {
	m := answer.ProtoReflect()
	if !tells()[m.Descriptor().FullName()] || !m.IsValid() {
		return
	}
	filled := (&filler{f, now}).message(m)
	filled.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		m.Set(d, v)
		return true
	})
}

type filler struct {
	face Face
	now  func(proto.Message) *tandemv1.Reason
}

func (f *filler) message(m protoreflect.Message) protoreflect.Message {
	if !tells()[m.Descriptor().FullName()] || !m.IsValid() {
		return m
	}
	to := m.New()
	m.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(d, f.value(to, d, v))
		return true
	})
	if j, ok := to.Interface().(*tandemv1.Job); ok {
		fillJob(j)
	}
	if text := f.text(to); text != "" {
		to.Set(textOf(to.Descriptor()), protoreflect.ValueOfString(text))
	}
	return to
}

// fillJob puts in what a job has of its spec.
func fillJob(j *tandemv1.Job) {
	if j.GetWorkers() == 0 {
		j.Workers = j.GetSpec().GetResources().GetWorkers()
	}
	if j.Priority == nil {
		j.Priority = proto.Int32(j.GetSpec().GetPriority())
	}
	if j.Pool == nil {
		j.Pool = proto.String(j.GetSpec().GetResources().GetPool())
	}
}

func (f *filler) value(to protoreflect.Message, d protoreflect.FieldDescriptor, v protoreflect.Value) protoreflect.Value {
	switch {
	case d.IsMap() || d.Message() == nil || !tells()[d.Message().FullName()]:
		return v
	case d.IsList():
		list := to.NewField(d).List()
		for i := range v.List().Len() {
			list.Append(protoreflect.ValueOfMessage(f.message(v.List().Get(i).Message())))
		}
		return protoreflect.ValueOfList(list)
	}
	return protoreflect.ValueOfMessage(f.message(v.Message()))
}

// text is what a message says for people; "" when it says what it is stored with, or nothing.
func (f *filler) text(m protoreflect.Message) string {
	if e, ok := m.Interface().(*tandemv1.Event); ok {
		return Event(e, f.face)
	}
	why := m.Descriptor().Fields().ByName("why")
	if why == nil {
		return ""
	}
	if f.now != nil {
		if better := f.now(m.Interface()); better != nil {
			m.Set(why, protoreflect.ValueOfMessage(better.ProtoReflect()))
		}
	}
	r, _ := m.Get(why).Message().Interface().(*tandemv1.Reason)
	return Reason(r, f.face)
}

// textOf is the field that holds the text of a message that says something; nil: it says nothing.
func textOf(d protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	if d.FullName() != (&tandemv1.Event{}).ProtoReflect().Descriptor().FullName() {
		if why := d.Fields().ByName("why"); why == nil || why.Message() == nil || why.Message().FullName() != reasonName() {
			return nil
		}
	}
	for _, name := range []protoreflect.Name{"reason", "message", "cause"} {
		if t := d.Fields().ByName(name); t != nil && t.Kind() == protoreflect.StringKind {
			return t
		}
	}
	return nil
}

func reasonName() protoreflect.FullName {
	return (&tandemv1.Reason{}).ProtoReflect().Descriptor().FullName()
}

// tells are the messages that say something, or hold one that does.
var tells = sync.OnceValue(func() map[protoreflect.FullName]bool {
	var all []protoreflect.MessageDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage(reasonName().Parent(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Messages().Len() {
			all = append(all, file.Messages().Get(i))
		}
		return true
	})
	found := map[protoreflect.FullName]bool{}
	for grown := true; grown; {
		grown = false
		for _, d := range all {
			if !found[d.FullName()] && (textOf(d) != nil || holds(d, found)) {
				found[d.FullName()], grown = true, true
			}
		}
	}
	return found
})

func holds(d protoreflect.MessageDescriptor, found map[protoreflect.FullName]bool) bool {
	for i := range d.Fields().Len() {
		if of := d.Fields().Get(i); !of.IsMap() && of.Message() != nil && found[of.Message().FullName()] {
			return true
		}
	}
	return false
}

func sorted(args map[string]string) []string { return slices.Sorted(maps.Keys(args)) }
