package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of what a request may repeat: a few bytes of each cost hundreds in memory.
const (
	maxID         = 1 << 10 // bytes
	maxTensors    = 16      // and dimensions
	maxKeys       = 64      // of an object
	maxParameters = 4 << 10 // bytes, of a request, tensor or output
)

// inferRequest is the JSON of a request.
type inferRequest struct {
	ID         string
	Parameters parameters
	Inputs     []inputTensor
	Outputs    []requestOutput
}

type inputTensor struct {
	Name, Datatype string
	Shape          []int64
	Parameters     parameters
	Data           []byte // JSON, part of the body; nil where there is none
}

type requestOutput struct {
	Name       string
	Parameters parameters
}

// parse reads the JSON of a request once, from beginning to end, and copies no numbers. Keys count as they are written; those that the
// protocol does not know are passed over, for clients send some.
func parse(text []byte) (inferRequest, error) {
	// Names are looked at here: the decoder would keep all of them, of an object that is passed over too.
	p := parser{jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true)), text}
	var in inferRequest
	err := p.object("the body", map[string]func(string) error{
		"id":         func(string) error { return p.text("id", &in.ID) },
		"parameters": func(string) error { return p.parameters("parameters", &in.Parameters) },
		"inputs": func(string) error {
			return p.list("inputs", func(place string) error {
				in.Inputs = append(in.Inputs, inputTensor{})
				return p.input(place, &in.Inputs[len(in.Inputs)-1])
			})
		},
		"outputs": func(string) error {
			return p.list("outputs", func(place string) error {
				in.Outputs = append(in.Outputs, requestOutput{})
				o := &in.Outputs[len(in.Outputs)-1]
				return p.object(place, map[string]func(string) error{
					"name":       func(place string) error { return p.text(place, &o.Name) },
					"parameters": func(place string) error { return p.parameters(place, &o.Parameters) },
				})
			})
		},
	})
	if err == nil {
		if _, err = p.ReadToken(); err == nil || !errors.Is(err, io.EOF) {
			err = errors.New("something follows the JSON object: send one")
		} else {
			err = nil
		}
	}
	switch {
	case err != nil:
		return inferRequest{}, said(err)
	case len(in.ID) > maxID:
		return inferRequest{}, fmt.Errorf("id has %d bytes; at most %d are allowed", len(in.ID), maxID)
	}
	return in, nil
}

// said makes an error of the decoder one for clients.
func said(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the body is not an inference request: the JSON ends too early")
	case errors.As(err, &syntax):
		return fmt.Errorf("the body is not an inference request: %w at byte %d, %s", syntax.Err, syntax.ByteOffset, place(string(syntax.JSONPointer)))
	}
	return err
}

// place is where something stands in a request, of a JSON pointer.
func place(pointer string) string {
	var b strings.Builder
	for key := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if _, err := strconv.Atoi(key); err == nil {
			fmt.Fprintf(&b, "[%s]", key)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(key)
	}
	if b.Len() == 0 {
		return "at the top"
	}
	return fmt.Sprintf("in %.80s", b.String())
}

// parser reads values of which it is known what they should be. null is as if there were none.
type parser struct {
	*jsontext.Decoder
	all []byte // what it reads
}

func (p parser) input(place string, t *inputTensor) error {
	return p.object(place, map[string]func(string) error{
		"name":       func(place string) error { return p.text(place, &t.Name) },
		"datatype":   func(place string) error { return p.text(place, &t.Datatype) },
		"parameters": func(place string) error { return p.parameters(place, &t.Parameters) },
		"shape": func(place string) error {
			return p.list(place, func(place string) error {
				t.Shape = append(t.Shape, 0)
				return p.whole(place, &t.Shape[len(t.Shape)-1])
			})
		},
		"data": func(string) error {
			value, err := p.ReadValue() // valid until the next read, but these bytes of the body stay
			if err == nil && value.Kind() != jsontext.KindNull {
				end := p.InputOffset()
				t.Data = p.all[end-int64(len(value)) : end]
			}
			return err
		},
	})
}

// object reads an object, each key of it by its function, which gets its place.
func (p parser) object(place string, keys map[string]func(place string) error) error {
	if begun, err := p.begin(place, jsontext.KindBeginObject, "an object"); !begun {
		return err
	}
	read := map[string]bool{}
	for n := 0; p.PeekKind() != jsontext.KindEndObject; n++ {
		if n == maxKeys {
			return fmt.Errorf("%s has more than %d keys", place, maxKeys)
		}
		token, err := p.ReadToken()
		if err != nil {
			return err
		}
		key := token.String()
		value := keys[key]
		switch {
		case value == nil:
			for known := range keys {
				if strings.EqualFold(known, key) {
					return fmt.Errorf("%s has the key %q: write it %q", place, key, known)
				}
			}
			err = p.SkipValue()
		case read[key]:
			return fmt.Errorf("%s has the key %q twice", place, key)
		default:
			read[key] = true
			err = value(strings.TrimPrefix(place+"."+key, "the body."))
		}
		if err != nil {
			return err
		}
	}
	_, err := p.ReadToken()
	return err
}

// list reads an array, each element by a function, which gets its place.
func (p parser) list(place string, each func(place string) error) error {
	if begun, err := p.begin(place, jsontext.KindBeginArray, "an array"); !begun {
		return err
	}
	for n := 0; p.PeekKind() != jsontext.KindEndArray; n++ {
		if n == maxTensors {
			return fmt.Errorf("%s has more than %d elements", place, maxTensors)
		}
		if err := each(fmt.Sprintf("%s[%d]", place, n)); err != nil {
			return err
		}
	}
	_, err := p.ReadToken()
	return err
}

// begin reads the first token of a value; there is no more to read of a null.
func (p parser) begin(place string, want jsontext.Kind, noun string) (bool, error) {
	token, err := p.ReadToken()
	switch {
	case err != nil:
		return false, err
	case token.Kind() == jsontext.KindNull && place != "the body":
		return false, nil
	case token.Kind() != want:
		return false, fmt.Errorf("%s must be %s, not %s", place, noun, kind(token))
	}
	return true, nil
}

func (p parser) text(place string, to *string) error {
	token, err := p.ReadToken()
	switch {
	case err != nil:
		return err
	case token.Kind() == jsontext.KindNull:
		return nil
	case token.Kind() != jsontext.KindString:
		return fmt.Errorf("%s must be a string, not %s", place, kind(token))
	}
	*to = token.String()
	return nil
}

func (p parser) whole(place string, to *int64) error {
	token, err := p.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() == jsontext.KindNumber {
		*to, err = strconv.ParseInt(token.String(), 10, 64)
	}
	if err != nil || token.Kind() != jsontext.KindNumber {
		return fmt.Errorf("%s must be a whole number, not %s", place, kind(token))
	}
	return nil
}

func (p parser) parameters(place string, to *parameters) error {
	text, err := p.ReadValue()
	switch {
	case err != nil:
		return err
	case len(text) > maxParameters:
		return fmt.Errorf("%s has %d bytes; at most %d are allowed", place, len(text), maxParameters)
	case text.Kind() != jsontext.KindBeginObject && text.Kind() != jsontext.KindNull:
		return fmt.Errorf("%s must be an object", place)
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%s must be an object", place) // it is one: its syntax was checked
	}
	return nil
}

// kind is what a token is, for people.
func kind(t jsontext.Token) string {
	switch t.Kind() {
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	case jsontext.KindString:
		return fmt.Sprintf("%.40q", t.String())
	}
	return fmt.Sprintf("%.40s", t.String())
}
