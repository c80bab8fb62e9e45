package limit

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// What a field may hold that does not say it.
const (
	stringLen = 1 << 10  // bytes of a string
	bytesLen  = 64 << 10 // of a bytes field
	items     = 1000     // entries of a list or a map
	depth     = 64       // messages within messages
)

// ErrLimit says that a field holds more than it may.
var ErrLimit = errors.New("too large")

// Error names the field that holds more than it may.
type Error struct {
	// Field is its path, such as spec.publish.aliases.
	Field string
	// What is too much, for people.
	What string
}

func (e *Error) Error() string { return e.Field + ": " + e.What }

// Unwrap makes it an ErrLimit.
func (e *Error) Unwrap() error { return ErrLimit }

// Check returns an *Error for a field of m that holds more than it may, or nil.
func Check(m proto.Message) error {
	if e := check(m.ProtoReflect(), depth); e != nil {
		return e
	}
	return nil
}

// check looks at one message. The path of an error is put together on the way back, for only then it is needed.
func check(m protoreflect.Message, left int) (found *Error) {
	if left == 0 {
		return &Error{What: fmt.Sprintf("messages lie within messages deeper than %d", depth)}
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		found = checkField(f, v, left)
		if found != nil {
			found.Field = strings.TrimSuffix(string(f.Name())+"."+found.Field, ".")
		}
		return found == nil
	})
	return found
}

func checkField(f protoreflect.FieldDescriptor, v protoreflect.Value, left int) (found *Error) {
	most := limitOf(f, tandemv1.E_MaxItems, items)
	switch {
	case f.IsMap():
		if n := v.Map().Len(); n > most {
			return &Error{What: fmt.Sprintf("has %d entries, at most %d are allowed", n, most)}
		}
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			if found = checkValue(f, f.MapKey().Kind(), k.Value(), left); found == nil {
				found = checkValue(f, f.MapValue().Kind(), v, left)
			}
			return found == nil
		})
	case f.IsList():
		if n := v.List().Len(); n > most {
			return &Error{What: fmt.Sprintf("has %d entries, at most %d are allowed", n, most)}
		}
		for i := 0; i < v.List().Len() && found == nil; i++ {
			found = checkValue(f, f.Kind(), v.List().Get(i), left)
		}
	default:
		found = checkValue(f, f.Kind(), v, left)
	}
	return found
}

// checkValue looks at one value of a field: its own, or one of its list or map.
func checkValue(f protoreflect.FieldDescriptor, kind protoreflect.Kind, v protoreflect.Value, left int) *Error {
	n, most := 0, 0
	switch kind {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return check(v.Message(), left-1)
	case protoreflect.StringKind:
		n, most = len(v.String()), limitOf(f, tandemv1.E_MaxLen, stringLen)
	case protoreflect.BytesKind:
		n, most = len(v.Bytes()), limitOf(f, tandemv1.E_MaxLen, bytesLen)
	}
	if n > most {
		return &Error{What: fmt.Sprintf("has %d bytes, at most %d are allowed", n, most)}
	}
	return nil
}

func limitOf(f protoreflect.FieldDescriptor, option protoreflect.ExtensionType, def int) int {
	if n, ok := proto.GetExtension(f.Options(), option).(int32); ok && n > 0 {
		return int(n)
	}
	return def
}

// Cut shortens the strings of m, and lists of it, to what they may hold. Bytes, maps, and messages that lie too deep stay as they are:
// nobody can say what is left of them.
func Cut(m proto.Message) { cut(m.ProtoReflect(), depth) }

func cut(m protoreflect.Message, left int) {
	if left == 0 {
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.IsList():
			list := v.List()
			if most := limitOf(f, tandemv1.E_MaxItems, items); list.Len() > most {
				list.Truncate(most)
			}
			for i := range list.Len() {
				switch f.Kind() {
				case protoreflect.StringKind:
					list.Set(i, protoreflect.ValueOfString(shorten(list.Get(i).String(), limitOf(f, tandemv1.E_MaxLen, stringLen))))
				case protoreflect.MessageKind:
					cut(list.Get(i).Message(), left-1)
				}
			}
		case f.Kind() == protoreflect.StringKind:
			if most := limitOf(f, tandemv1.E_MaxLen, stringLen); len(v.String()) > most {
				m.Set(f, protoreflect.ValueOfString(shorten(v.String(), most)))
			}
		case f.Kind() == protoreflect.MessageKind:
			cut(v.Message(), left-1)
		}
		return true
	})
}

// ellipsis stands where something was left out.
const ellipsis = " ..."

// shorten cuts a text to at most n bytes; half a character at the end goes too.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[:max(0, n-len(ellipsis))]
	return strings.ToValidUTF8(s, "") + ellipsis
}
