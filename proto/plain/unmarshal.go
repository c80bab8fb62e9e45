package plain

import (
	"bytes"
	"encoding/json"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth bounds how deep messages are followed for words of enums; no message of the schema nests so deep.
const maxDepth = 64

// Unmarshal reads a message from JSON as Marshal writes it or protojson does. Keys that the schema does not have are errors.
func Unmarshal(b []byte, m proto.Message) error { return protojson.Unmarshal(Names(b, m), m) }

// Names is JSON of a message with the full names of enums in the place of plain words: all else stands as it was, down to what is wrong.
func Names(b []byte, m proto.Message) []byte {
	n := namer{in: b, d: json.NewDecoder(bytes.NewReader(b))}
	n.d.UseNumber()
	if n.message(m.ProtoReflect().Descriptor(), 0) != nil {
		return b // not valid JSON: who reads it says so
	}
	return append(n.out, b[n.copied:]...)
}

// namer copies JSON and replaces words of enums.
type namer struct {
	in     []byte
	d      *json.Decoder
	out    []byte
	copied int // bytes of in that are in out
}

func (n *namer) message(m protoreflect.MessageDescriptor, depth int) error {
	if wellKnown(m) || depth > maxDepth {
		return n.skip()
	}
	return n.object(func(key string) error {
		f := m.Fields().ByJSONName(key)
		if f == nil {
			f = m.Fields().ByTextName(key)
		}
		switch {
		case f == nil:
			return n.skip()
		case f.IsMap():
			return n.object(func(string) error { return n.value(f.MapValue(), depth+1) })
		case f.IsList():
			return n.list(func() error { return n.value(f, depth+1) })
		}
		return n.value(f, depth+1)
	})
}

func (n *namer) value(f protoreflect.FieldDescriptor, depth int) error {
	switch {
	case f.Message() != nil:
		return n.message(f.Message(), depth)
	case f.Enum() == nil || n.peek() != '"':
		return n.skip()
	}
	var text string
	if err := n.d.Decode(&text); err != nil {
		return err
	}
	number, ok := Number(f.Enum(), text)
	if !ok {
		return nil
	}
	end := int(n.d.InputOffset())
	start := bytes.LastIndexByte(n.in[:end-1], '"')
	n.out = append(n.out, n.in[n.copied:start]...)
	n.out = strconv.AppendQuote(n.out, string(f.Enum().Values().ByNumber(number).Name()))
	n.copied = end
	return nil
}

// object reads an object, whose values each reads; anything else is passed over.
func (n *namer) object(each func(key string) error) error {
	if n.peek() != '{' {
		return n.skip()
	}
	if _, err := n.d.Token(); err != nil {
		return err
	}
	for n.d.More() {
		t, err := n.d.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if err := each(key); err != nil {
			return err
		}
	}
	_, err := n.d.Token()
	return err
}

func (n *namer) list(each func() error) error {
	if n.peek() != '[' {
		return n.skip()
	}
	if _, err := n.d.Token(); err != nil {
		return err
	}
	for n.d.More() {
		if err := each(); err != nil {
			return err
		}
	}
	_, err := n.d.Token()
	return err
}

// skip passes over one value.
func (n *namer) skip() error {
	var raw json.RawMessage
	return n.d.Decode(&raw)
}

// peek is the first character of the next value; 0 at the end.
func (n *namer) peek() byte {
	rest := bytes.TrimLeft(n.in[n.d.InputOffset():], " \t\r\n:,")
	if len(rest) == 0 {
		return 0
	}
	return rest[0]
}
