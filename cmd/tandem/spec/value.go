package spec

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// Names of the messages that stand for plain values.
const (
	valueName = "google.protobuf.Value"
	listName  = "google.protobuf.ListValue"
)

// plain says whether a message stands for a plain value or a list of such, and so is written as one.
func plain(md protoreflect.MessageDescriptor) bool {
	return md != nil && (md.FullName() == valueName || md.FullName() == listName)
}

// plainValue fills a message in that stands for a plain value.
func (d *decoder) plainValue(m protoreflect.Message, node ast.Node, path string) {
	var to proto.Message
	if m.Descriptor().FullName() == listName {
		list, ok := d.resolve(node).(*ast.SequenceNode)
		if !ok {
			d.problem(node, fmt.Sprintf("%s: wants a list, such as [a, b], got %s", path, describe(d.resolve(node))))
			return
		}
		values, ok := d.values(list, path)
		if !ok {
			return
		}
		to = &structpb.ListValue{Values: values}
	} else {
		v, ok := d.value(node, path)
		if !ok {
			return
		}
		to = v
	}
	proto.Merge(m.Interface(), to)
}

func (d *decoder) values(list *ast.SequenceNode, path string) (values []*structpb.Value, ok bool) {
	for i, entry := range list.Values {
		v, ok := d.value(entry, fmt.Sprintf("%s[%d]", path, i))
		if !ok {
			return nil, false
		}
		values = append(values, v)
	}
	return values, true
}

// maxRead bounds values and entries of maps: "*name" can stand for what holds it.
const maxRead = 100_000

// tooMany counts what is read, and says once that it is too much.
func (d *decoder) tooMany(node ast.Node, path string) bool {
	if d.read++; d.read == maxRead {
		d.problem(node, fmt.Sprintf("%s: these are more than %d values", path, maxRead))
	}
	return d.read >= maxRead
}

// numberRE is a number as JSON and YAML 1.2 write it.
var numberRE = regexp.MustCompile(`^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$`)

// value reads a number, a text, true or false, or a list of them.
func (d *decoder) value(node ast.Node, path string) (*structpb.Value, bool) {
	if d.tooMany(node, path) {
		return nil, false
	}
	n := d.resolve(node)
	if text, ok := textOf(n); ok {
		if n.GetToken().Type == token.StringType && numberRE.MatchString(text) { // 1e-3, which YAML 1.1 took for text
			if x, ok := number(n); ok {
				return structpb.NewNumberValue(x), true
			}
		}
		return structpb.NewStringValue(text), true
	}
	switch t := n.(type) {
	case *ast.BoolNode:
		return structpb.NewBoolValue(t.Value), true
	case *ast.IntegerNode, *ast.FloatNode:
		if x, ok := number(t); ok {
			return structpb.NewNumberValue(x), true
		}
	case *ast.SequenceNode:
		if strings.Count(path, "[") >= maxLevels {
			d.problem(node, fmt.Sprintf("%s: lists are nested too deep", path))
			return nil, false
		}
		values, ok := d.values(t, path)
		return structpb.NewListValue(&structpb.ListValue{Values: values}), ok
	}
	d.problem(node, fmt.Sprintf("%s: wants a number, a text, true or false, or a list of them, got %s", path, describe(n)))
	return nil, false
}
