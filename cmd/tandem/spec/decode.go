package spec

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// decoder fills a message in and collects what is wrong on the way.
type decoder struct {
	root     protoreflect.MessageDescriptor
	name     string // of the file
	inline   string // text of the --set that is being read; empty: the file is
	anchors  map[string]ast.Node
	within   protoreflect.MessageDescriptor // message of a map that is being read; its keys are not keys of the rest of the spec
	read     int                            // values and entries of maps that were read
	problems []Problem
}

func (d *decoder) problem(at ast.Node, message string) {
	place := d.inline
	if place == "" {
		place = d.name
		if at != nil && at.GetToken() != nil && at.GetToken().Position != nil {
			p := at.GetToken().Position
			place = fmt.Sprintf("%s:%d:%d", d.name, p.Line, p.Column)
		}
	}
	d.problems = append(d.problems, Problem{Place: place, Message: message})
}

// anchors finds the nodes that "&name" names.
func anchors(body ast.Node) map[string]ast.Node {
	found := map[string]ast.Node{}
	for _, n := range ast.Filter(ast.AnchorType, body) {
		if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
			found[a.Name.GetToken().Value] = a.Value
		}
	}
	return found
}

// resolve follows "&name" and "*name"; nil if they lead nowhere.
func (d *decoder) resolve(n ast.Node) ast.Node {
	for range 16 {
		switch t := n.(type) {
		case *ast.AnchorNode:
			n = t.Value
		case *ast.AliasNode:
			if t.Value == nil {
				return nil
			}
			n = d.anchors[t.Value.GetToken().Value]
		default:
			return n
		}
	}
	return nil
}

// message fills m in from a mapping.
func (d *decoder) message(m protoreflect.Message, node ast.Node, path string) {
	at := path
	if at == "" {
		at = "the spec"
	}
	mapping, ok := d.resolve(node).(ast.MapNode)
	if !ok {
		d.problem(node, fmt.Sprintf("%s: wants keys and values (%s), got %s", at, strings.Join(keys(m.Descriptor()), ", "), describe(d.resolve(node))))
		return
	}
	seen := map[protoreflect.Name]bool{}
	for it := mapping.MapRange(); it.Next(); {
		key := it.Key()
		if key.IsMergeKey() {
			d.problem(key, "merge keys (<<) are not understood: write the keys out")
			continue
		}
		name := protoreflect.Name(key.GetToken().Value)
		f := m.Descriptor().Fields().ByName(name)
		if f == nil {
			d.problem(key, d.unknownKey(m.Descriptor(), path, string(name)))
			continue
		}
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			if other := m.WhichOneof(o); other != nil && other != f {
				d.problem(key, fmt.Sprintf("%s: %s and %s exclude each other: keep one", at, other.Name(), name))
				continue
			}
		}
		if seen[name] {
			d.problem(key, fmt.Sprintf("%s occurs twice", join(path, string(name))))
			continue
		}
		seen[name] = true
		d.field(m, f, it.Value(), join(path, string(name)))
	}
}

// field sets one field of m.
func (d *decoder) field(m protoreflect.Message, f protoreflect.FieldDescriptor, node ast.Node, path string) {
	value := d.resolve(node)
	switch {
	case f.IsMap() && f.MapValue().Message() != nil:
		d.entries(m, f, node, path, "")
	case f.IsMap():
		d.texts(m, f, node, path)
	case f.IsList():
		list, ok := value.(*ast.SequenceNode)
		if !ok {
			d.problem(node, fmt.Sprintf("%s: %s, got %s", path, wants(f), describe(value)))
			return
		}
		out := m.Mutable(f).List()
		for i, entry := range list.Values {
			at := fmt.Sprintf("%s[%d]", path, i)
			if f.Message() != nil {
				d.message(out.AppendMutable().Message(), entry, at)
				continue
			}
			if v, ok := d.scalar(f, entry, at); ok {
				out.Append(v)
			}
		}
	case plain(f.Message()):
		d.plainValue(m.Mutable(f).Message(), node, path)
	case f.Message() != nil:
		d.message(m.Mutable(f).Message(), node, path)
	default:
		if v, ok := d.scalar(f, node, path); ok {
			m.Set(f, v)
		}
	}
}

// scalar reads one value of f's kind.
func (d *decoder) scalar(f protoreflect.FieldDescriptor, node ast.Node, path string) (protoreflect.Value, bool) {
	value := d.resolve(node)
	text, isText := textOf(value)
	v, ok := protoreflect.Value{}, false
	switch f.Kind() {
	case protoreflect.StringKind:
		v, ok = protoreflect.ValueOfString(text), isText
	case protoreflect.BoolKind:
		if b, is := value.(*ast.BoolNode); is {
			v, ok = protoreflect.ValueOfBool(b.Value), true
		}
	case protoreflect.DoubleKind:
		if x, is := number(value); is {
			v, ok = protoreflect.ValueOfFloat64(x), true
		}
	case protoreflect.Int32Kind:
		if x, is := whole(value); is && x >= math.MinInt32 && x <= math.MaxInt32 {
			v, ok = protoreflect.ValueOfInt32(int32(x)), true
		}
	case protoreflect.Int64Kind:
		if x, is := whole(value); is {
			v, ok = protoreflect.ValueOfInt64(x), true
		}
	}
	if !ok {
		hint := ""
		if f.Kind() == protoreflect.StringKind && isScalar(value) {
			hint = fmt.Sprintf(": put it in quotes, %q", value.GetToken().Value)
		}
		d.problem(node, fmt.Sprintf("%s: %s, got %s%s", path, wantsOne(f), describe(value), hint))
	}
	return v, ok
}

func textOf(n ast.Node) (string, bool) {
	switch t := n.(type) {
	case *ast.StringNode:
		return t.Value, true
	case *ast.LiteralNode:
		return t.Value.Value, true
	}
	return "", false
}

// number reads any finite number; as JSON of protobuf does, also one in quotes.
func number(n ast.Node) (float64, bool) {
	if x, ok := n.(*ast.FloatNode); ok {
		return x.Value, finite(x.Value)
	}
	if x, ok := whole(n); ok {
		return float64(x), true
	}
	text, ok := textOf(n)
	if !ok {
		return 0, false
	}
	x, err := strconv.ParseFloat(text, 64)
	return x, err == nil && finite(x)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// whole reads a whole number, however it is written: 1000, 1e3 or "1000".
func whole(n ast.Node) (int64, bool) {
	switch t := n.(type) {
	case *ast.IntegerNode:
		if digits := t.GetToken().Value; decimal.MatchString(digits) { // 010 is ten in YAML 1.2, and eight for the parser
			x, err := strconv.ParseInt(digits, 10, 64)
			return x, err == nil
		}
		switch x := t.Value.(type) {
		case int64:
			return x, true
		case uint64:
			return int64(x), x <= math.MaxInt64
		}
	case *ast.FloatNode:
		return int64(t.Value), t.Value == math.Trunc(t.Value) && math.Abs(t.Value) <= 1<<53
	}
	text, ok := textOf(n)
	if !ok {
		return 0, false
	}
	if x, err := strconv.ParseInt(text, 10, 64); err == nil {
		return x, true
	}
	x, err := strconv.ParseFloat(text, 64)
	return int64(x), err == nil && x == math.Trunc(x) && math.Abs(x) <= 1<<53
}

// decimal is a whole number as YAML 1.2 writes it: zeros in front of it mean nothing. An octal one begins with 0o.
var decimal = regexp.MustCompile(`^[-+]?[0-9]+$`)

func isScalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return true
	}
	return false
}

// wants says what a field takes.
func wants(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsList():
		return "wants a list, such as [" + map[bool]string{true: "a, b", false: "16, 32"}[f.Kind() == protoreflect.StringKind] + "]"
	case f.IsMap() && f.MapValue().Message() == nil:
		return "wants names, each with text"
	case f.IsMap():
		return "wants names, each with " + entryText(f)
	case plain(f.Message()):
		return "wants a value"
	case f.Message() != nil:
		return "wants keys and values (" + strings.Join(keys(f.Message()), ", ") + ")"
	}
	return wantsOne(f)
}

func wantsOne(f protoreflect.FieldDescriptor) string {
	switch f.Kind() {
	case protoreflect.StringKind:
		return "wants text"
	case protoreflect.BoolKind:
		return "wants true or false"
	case protoreflect.DoubleKind:
		return "wants a number"
	case protoreflect.Int32Kind:
		return "wants a whole number of at most 32 bits"
	case protoreflect.Int64Kind:
		return "wants a whole number"
	}
	return "cannot be written in a spec"
}

// describe says what is there instead.
func describe(n ast.Node) string {
	if text, ok := textOf(n); ok {
		return fmt.Sprintf("text %.40q", text)
	}
	switch t := n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "number " + t.GetToken().Value
	case *ast.BoolNode:
		return t.GetToken().Value
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "keys and values"
	}
	return "something else"
}
