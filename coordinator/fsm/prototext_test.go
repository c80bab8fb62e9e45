package fsm_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// textWidth is where lines are broken, in columns.
const textWidth = 110

// text writes a message as prototext in lines that are filled up to textWidth, with the fields in the order of the schema. It gives the same
// bytes each time, which prototext.Marshal does not promise.
func text(m protoreflect.Message, indent string) string {
	var b strings.Builder
	line := ""
	end := func() {
		if line != "" {
			b.WriteString(indent + line + "\n")
		}
		line = ""
	}
	for _, f := range fieldsOf(m) {
		one := f.line()
		if len(indent)+len(one) > textWidth && f.inner != nil {
			end()
			fmt.Fprintf(&b, "%s%s {\n%s%s}\n", indent, f.name, text(f.inner, indent+"  "), indent)
			continue
		}
		switch {
		case line == "":
			line = one
		case len(indent)+len(line)+len(", ")+len(one) > textWidth:
			end()
			line = one
		default:
			line += ", " + one
		}
	}
	end()
	return b.String()
}

// field is a field that is set, or an element of one that is repeated.
type field struct {
	name  string
	value string               // of a scalar, or of an entry of a map
	inner protoreflect.Message // or nil
}

func (f field) line() string {
	switch {
	case f.inner != nil:
		var parts []string
		for _, g := range fieldsOf(f.inner) {
			parts = append(parts, g.line())
		}
		return f.name + " {" + strings.Join(parts, ", ") + "}"
	case f.value[0] == '{':
		return f.name + " " + f.value
	}
	return f.name + ": " + f.value
}

func fieldsOf(m protoreflect.Message) (all []field) {
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		if !m.Has(fd) {
			continue
		}
		add := func(v protoreflect.Value) {
			if inner, ok := v.Interface().(protoreflect.Message); ok {
				all = append(all, field{name: fd.TextName(), inner: inner})
			} else {
				all = append(all, field{name: fd.TextName(), value: scalar(fd, v)})
			}
		}
		switch {
		case fd.IsMap():
			var entries []string
			m.Get(fd).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				entries = append(entries, fmt.Sprintf("{key: %s, value: %s}", scalar(fd.MapKey(), k.Value()), mapValue(fd.MapValue(), v)))
				return true
			})
			slices.Sort(entries)
			for _, entry := range entries {
				all = append(all, field{name: fd.TextName(), value: entry})
			}
		case fd.IsList():
			for i := range m.Get(fd).List().Len() {
				add(m.Get(fd).List().Get(i))
			}
		default:
			add(m.Get(fd))
		}
	}
	return all
}

func mapValue(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if inner, ok := v.Interface().(protoreflect.Message); ok {
		_, value, _ := strings.Cut(field{inner: inner}.line(), " ")
		return value
	}
	return scalar(fd, v)
}

func scalar(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch fd.Kind() {
	case protoreflect.EnumKind:
		return string(fd.Enum().Values().ByNumber(v.Enum()).Name())
	case protoreflect.StringKind:
		return strconv.Quote(v.String())
	case protoreflect.BytesKind:
		return strconv.Quote(string(v.Bytes()))
	}
	return v.String()
}
