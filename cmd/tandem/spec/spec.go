package spec

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"google.golang.org/protobuf/reflect/protoreflect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// MaxBytes bounds the text of a spec.
const MaxBytes = 1 << 20

// Parse reads a spec. name stands for the file in messages; each of sets is "path=value", such as
// "training.optimizer.lr=0.01", and overrides what the text says; the value is YAML. The text may be that of a job, as it comes from the
// cluster: then its spec is read. An *Error lists all that is wrong.
func Parse(name string, text []byte, sets []string) (*tandemv1.JobSpec, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%s: %d bytes are too many for a spec, at most %d", name, len(text), MaxBytes)
	}
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	if !utf8.Valid(text) || bytes.ContainsFunc(text, unprintable) {
		return nil, fmt.Errorf("%s is not text: a spec is YAML or JSON, in UTF-8", name)
	}
	s := &tandemv1.JobSpec{}
	d := decoder{root: s.ProtoReflect().Descriptor(), name: name}
	body, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if body != nil {
		d.anchors = anchors(body)
		d.message(s.ProtoReflect(), specOf(body), "")
	}
	for _, set := range sets {
		d.set(s.ProtoReflect(), set)
	}
	if len(d.problems) > 0 {
		return nil, &Error{Problems: d.problems}
	}
	return s, nil
}

// specOf is the spec in a document that is a job, as the cluster tells of one: its spec, or that of its key job. Any other document is
// the spec itself.
func specOf(body ast.Node) ast.Node {
	job := body
	if inner := valueOf(body, "job"); inner != nil {
		job = inner
	}
	if spec := valueOf(job, "spec"); spec != nil && valueOf(job, "spec_hash") != nil {
		return spec
	}
	return body
}

// valueOf is what stands under a key; nil where there is no such key.
func valueOf(node ast.Node, key string) ast.Node {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		return nil
	}
	for it := mapping.MapRange(); it.Next(); {
		if it.Key().GetToken().Value == key {
			return it.Value()
		}
	}
	return nil
}

// unprintable tells control characters that no text editor makes.
func unprintable(r rune) bool {
	return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t\f\u0085", r)
}

// parse reads the one document of a text; nil if it is empty.
func parse(text []byte) (ast.Node, error) {
	if err := bounded(string(text)); err != nil {
		return nil, err
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, err
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, errors.New("more than one document (---) in the file: write one spec a file")
		}
		body = doc.Body
	}
	return body, nil
}

// set applies one "path=value".
func (d *decoder) set(m protoreflect.Message, set string) {
	d.inline = "--set " + set
	defer func() { d.inline = "" }()
	path, value, ok := strings.Cut(set, "=")
	if !ok || path == "" {
		d.problem(nil, "write it as path=value, such as training.batch=64")
		return
	}
	steps := strings.Split(path, ".")
	for i, step := range steps {
		at := strings.Join(steps[:i], ".")
		f := m.Descriptor().Fields().ByName(protoreflect.Name(step))
		if f == nil {
			d.problem(nil, unknownKey(d.root, m.Descriptor(), at, step))
			return
		}
		if i < len(steps)-1 && f.IsMap() && f.MapValue().Message() != nil {
			d.setEntry(m, f, join(at, step), strings.Join(steps[i+1:], "."), value)
			return
		}
		if name := strings.Join(steps[i+1:], "."); name != "" && f.IsMap() {
			m.Mutable(f).Map().Set(protoreflect.ValueOfString(name).MapKey(), protoreflect.ValueOfString(value))
			return
		}
		if i < len(steps)-1 {
			if f.Message() == nil || f.IsList() || f.IsMap() {
				d.problem(nil, fmt.Sprintf("%s has no keys of its own", join(at, step)))
				return
			}
			m = m.Mutable(f).Message()
			continue
		}
		d.setLeaf(m, f, path, value)
	}
}

// setEntry sets what stands under one name of a map.
func (d *decoder) setEntry(m protoreflect.Message, f protoreflect.FieldDescriptor, path, name, value string) {
	node, err := parse([]byte(value))
	if err != nil || node == nil {
		d.problem(nil, fmt.Sprintf("%s.%s: wants %s", path, name, entryText(f)))
		return
	}
	if _, ok := node.(ast.MapNode); !ok && !plain(f.MapValue().Message()) {
		d.problem(nil, fmt.Sprintf("%s.%s: wants %s, got %s", path, name, entryText(f), describe(node)))
		return
	}
	m.Mutable(f).Map().Clear(protoreflect.ValueOfString(name).MapKey())
	d.entry(m, f, nil, node, path, name)
}

// setLeaf takes text as it is where text is wanted, and YAML everywhere else.
func (d *decoder) setLeaf(m protoreflect.Message, f protoreflect.FieldDescriptor, path, value string) {
	if f.Kind() == protoreflect.StringKind && !f.IsList() {
		m.Set(f, protoreflect.ValueOfString(value))
		return
	}
	node, err := parse([]byte(value))
	if err != nil || node == nil {
		d.problem(nil, fmt.Sprintf("%s: %s", path, wants(f)))
		return
	}
	m.Clear(f)
	d.field(m, f, node, path)
}
