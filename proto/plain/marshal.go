package plain

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Marshal writes a message as JSON without white space.
func Marshal(m proto.Message) ([]byte, error) {
	e := encoder{}
	e.message(m.ProtoReflect(), false)
	if e.err != nil {
		return nil, fmt.Errorf("encode as JSON: %w", e.err)
	}
	return e.out.Bytes(), nil
}

// MarshalField writes one field of a message as JSON.
func MarshalField(m proto.Message, f protoreflect.FieldDescriptor) ([]byte, error) {
	e := encoder{}
	e.field(f, m.ProtoReflect().Get(f), false)
	if e.err != nil {
		return nil, fmt.Errorf("encode as JSON: %w", e.err)
	}
	return e.out.Bytes(), nil
}

type encoder struct {
	out bytes.Buffer
	err error
}

// message writes a message; a sparse one without what is not set, nor what is not set within.
func (e *encoder) message(m protoreflect.Message, sparse bool) {
	if wellKnown(m.Descriptor()) {
		e.wellKnown(m)
		return
	}
	sparse = sparse || proto.GetExtension(m.Descriptor().Options(), tandemv1.E_Sparse).(bool)
	e.out.WriteByte('{')
	first := true
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		if !m.Has(f) && (sparse || absent(f)) {
			continue
		}
		if !first {
			e.out.WriteByte(',')
		}
		first = false
		e.text(string(f.Name()))
		e.out.WriteByte(':')
		if !m.Has(f) && f.HasPresence() {
			e.out.WriteString("null")
			continue
		}
		e.field(f, m.Get(f), sparse)
	}
	e.out.WriteByte('}')
}

// absent tells whether a field has no key where it is not set: of a oneof the one that is set is there, and null would be a free value.
func absent(f protoreflect.FieldDescriptor) bool {
	o := f.ContainingOneof()
	return o != nil && !o.IsSynthetic() || f.Message() != nil && f.Message().FullName() == "google.protobuf.Value"
}

func (e *encoder) field(f protoreflect.FieldDescriptor, v protoreflect.Value, sparse bool) {
	switch {
	case f.IsMap():
		e.entries(f, v.Map(), sparse)
	case f.IsList():
		e.out.WriteByte('[')
		for i := range v.List().Len() {
			if i > 0 {
				e.out.WriteByte(',')
			}
			e.value(f, v.List().Get(i), sparse)
		}
		e.out.WriteByte(']')
	default:
		e.value(f, v, sparse)
	}
}

// entries writes a map in the order of its keys.
func (e *encoder) entries(f protoreflect.FieldDescriptor, m protoreflect.Map, sparse bool) {
	keys := make([]protoreflect.MapKey, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int {
		if _, ok := a.Interface().(string); ok {
			return strings.Compare(a.String(), b.String())
		}
		return cmp.Compare(number(a), number(b))
	})
	e.out.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			e.out.WriteByte(',')
		}
		e.text(k.String())
		e.out.WriteByte(':')
		e.value(f.MapValue(), m.Get(k), sparse)
	}
	e.out.WriteByte('}')
}

// number orders keys that are not text.
func number(k protoreflect.MapKey) float64 {
	switch n := k.Interface().(type) {
	case int32:
		return float64(n)
	case int64:
		return float64(n)
	case uint32:
		return float64(n)
	case uint64:
		return float64(n)
	}
	return 0
}

func (e *encoder) value(f protoreflect.FieldDescriptor, v protoreflect.Value, sparse bool) {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		e.message(v.Message(), sparse)
	case protoreflect.EnumKind:
		e.text(word(f.Enum(), v.Enum()))
	case protoreflect.StringKind:
		e.text(v.String())
	case protoreflect.BytesKind:
		e.text(base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.FloatKind:
		e.float(v.Float(), 32)
	case protoreflect.DoubleKind:
		e.float(v.Float(), 64)
	default: // whole numbers, true and false
		fmt.Fprint(&e.out, v.Interface())
	}
}

// float writes what JSON has no number for as protobuf does, as text.
func (e *encoder) float(x float64, bits int) {
	switch {
	case math.IsNaN(x):
		e.text("NaN")
	case math.IsInf(x, 1):
		e.text("Infinity")
	case math.IsInf(x, -1):
		e.text("-Infinity")
	default:
		form := byte('f')
		if a := math.Abs(x); a != 0 && (a < 1e-6 || a >= 1e21) { // as encoding/json
			form = 'e'
		}
		e.out.Write(strconv.AppendFloat(nil, x, form, -1, bits))
	}
}

func (e *encoder) text(s string) {
	enc := json.NewEncoder(&e.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil && e.err == nil {
		e.err = err
	}
	e.out.Truncate(e.out.Len() - 1) // the line's end
}

// wellKnown writes a message for whose JSON protobuf has a rule of its own: times, durations, free values.
func (e *encoder) wellKnown(m protoreflect.Message) {
	b, err := protojson.Marshal(m.Interface())
	if err == nil {
		err = json.Compact(&e.out, b)
	}
	if err != nil && e.err == nil {
		e.err = err
	}
}

func wellKnown(m protoreflect.MessageDescriptor) bool {
	return m.ParentFile().Package() == "google.protobuf"
}
