package spec

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// entries fills a map of messages in. Its keys are places such as training.optimizer.lr, which may be written as levels too: what has
// no key of the message is a level.
func (d *decoder) entries(m protoreflect.Message, f protoreflect.FieldDescriptor, node ast.Node, path, prefix string) {
	at := join(path, prefix)
	mapping, ok := d.resolve(node).(ast.MapNode)
	if !ok {
		d.problem(node, fmt.Sprintf("%s: wants names, each with %s, got %s", at, entryText(f), describe(d.resolve(node))))
		return
	}
	empty := true
	for it := mapping.MapRange(); it.Next(); {
		empty = false
		if it.Key().IsMergeKey() {
			d.problem(it.Key(), "merge keys (<<) are not understood: write the keys out")
			continue
		}
		if d.tooMany(it.Key(), at) {
			return
		}
		d.entry(m, f, it.Key(), it.Value(), path, join(prefix, it.Key().GetToken().Value))
	}
	if empty && prefix != "" {
		d.problem(node, fmt.Sprintf("%s is empty", at))
	}
}

// texts fills a map of texts in.
func (d *decoder) texts(m protoreflect.Message, f protoreflect.FieldDescriptor, node ast.Node, path string) {
	mapping, ok := d.resolve(node).(ast.MapNode)
	if !ok {
		d.problem(node, fmt.Sprintf("%s: %s, got %s", path, wants(f), describe(d.resolve(node))))
		return
	}
	to := m.Mutable(f).Map()
	for it := mapping.MapRange(); it.Next(); {
		name := it.Key().GetToken().Value
		k := protoreflect.ValueOfString(name).MapKey()
		switch v, ok := d.scalar(f.MapValue(), it.Value(), join(path, name)); {
		case it.Key().IsMergeKey():
			d.problem(it.Key(), "merge keys (<<) are not understood: write the keys out")
		case d.tooMany(it.Key(), path):
			return
		case to.Has(k):
			d.problem(it.Key(), fmt.Sprintf("%s occurs twice", join(path, name)))
		case ok:
			to.Set(k, v)
		}
	}
}

// entry reads what stands under one name.
func (d *decoder) entry(m protoreflect.Message, f protoreflect.FieldDescriptor, key ast.MapKeyNode, node ast.Node, path, name string) {
	of := f.MapValue().Message()
	at := join(path, name)
	mapping, isMapping := d.resolve(node).(ast.MapNode)
	if isMapping && (plain(of) || !d.anyKey(mapping, of)) {
		if strings.Count(name, ".") >= maxLevels {
			d.problem(key, fmt.Sprintf("%s: these are more levels than a spec has", at))
			return
		}
		d.entries(m, f, node, path, name)
		return
	}
	if !isMapping && !plain(of) {
		level, own := "", name
		if i := strings.LastIndexByte(name, '.'); i >= 0 {
			level, own = name[:i], name[i+1:]
		}
		if near, steps := nearest(of, own); level != "" && steps <= maxMistaken {
			d.problem(key, fmt.Sprintf("unknown key %q in %s: did you mean %q?", own, join(path, level), near))
			return
		}
		if level != "" && len(find(d.root, own, "")) == 0 { // no place in a spec: a domain that does not exist
			d.problem(key, nearestKey(of, join(path, level), own))
			return
		}
		d.problem(key, fmt.Sprintf("%s: wants %s, got %s", at, entryText(f), describe(d.resolve(node))))
		return
	}
	k := protoreflect.ValueOfString(name).MapKey()
	if m.Get(f).Map().Has(k) {
		d.problem(key, fmt.Sprintf("%s occurs twice", at))
		return
	}
	to := m.Mutable(f).Map().Mutable(k).Message()
	if plain(of) {
		d.plainEntry(to, node, at)
		return
	}
	if mixed := d.levelIn(mapping, of); mixed != nil {
		d.problem(mixed, fmt.Sprintf("%s has keys of its own (%s), so it cannot hold %q too: write that beside it",
			at, strings.Join(keys(of), ", "), mixed.GetToken().Value))
		return
	}
	inside := d.within
	d.within = of
	d.message(to, node, at)
	d.within = inside
}

// maxLevels bounds how deep levels go.
const maxLevels = 16

// plainEntry reads a list; a single value stands for a list of one.
func (d *decoder) plainEntry(to protoreflect.Message, node ast.Node, at string) {
	if _, isList := d.resolve(node).(*ast.SequenceNode); !isList && to.Descriptor().FullName() == listName {
		if v, ok := d.value(node, at); ok {
			f := to.Descriptor().Fields().ByName("values")
			to.Mutable(f).List().Append(protoreflect.ValueOfMessage(v.ProtoReflect()))
		}
		return
	}
	d.plainValue(to, node, at)
}

// anyKey says whether a mapping has a key of a message.
func (d *decoder) anyKey(mapping ast.MapNode, of protoreflect.MessageDescriptor) bool {
	for it := mapping.MapRange(); it.Next(); {
		if of.Fields().ByName(protoreflect.Name(it.Key().GetToken().Value)) != nil {
			return true
		}
	}
	return false
}

// levelIn returns a key of a mapping that is none of the message and holds keys itself; nil if there is none.
func (d *decoder) levelIn(mapping ast.MapNode, of protoreflect.MessageDescriptor) ast.MapKeyNode {
	for it := mapping.MapRange(); it.Next(); {
		if of.Fields().ByName(protoreflect.Name(it.Key().GetToken().Value)) != nil {
			continue
		}
		if _, isMapping := d.resolve(it.Value()).(ast.MapNode); isMapping {
			return it.Key()
		}
	}
	return nil
}

// entryText says what stands under each name.
func entryText(f protoreflect.FieldDescriptor) string {
	of := f.MapValue().Message()
	if plain(of) {
		return "a list, such as [a, b]"
	}
	return "keys and values (" + strings.Join(keys(of), ", ") + ")"
}
