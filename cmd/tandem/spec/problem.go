package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Problem is one thing that is wrong with a spec.
type Problem struct {
	Place   string // "digits.yaml:3:5", or the text of a --set
	Message string // what is wrong and what to do
}

// Error is everything that is wrong with a spec.
type Error struct {
	Problems []Problem // in the order of the text
}

// Error names each problem on a line of its own.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Place + ": " + p.Message
	}
	return strings.Join(lines, "\n")
}

// unknownKey says which known key was probably meant: the same name elsewhere in the spec, or the nearest one here.
func unknownKey(root, here protoreflect.MessageDescriptor, path, key string) string {
	where := "the spec"
	if path != "" {
		where = path
	}
	if paths := find(root, key, ""); len(paths) > 0 {
		for i, p := range paths {
			if !strings.Contains(p, ".") {
				paths[i] = p + " at the top of the spec"
			}
		}
		return fmt.Sprintf("unknown key %q in %s: did you mean %s?", key, where, strings.Join(paths, " or "))
	}
	return nearestKey(here, where, key)
}

// unknownKey is the function of this name, but for what a map holds.
func (d *decoder) unknownKey(here protoreflect.MessageDescriptor, path, key string) string {
	if here == d.within {
		return nearestKey(here, path, key)
	}
	return unknownKey(d.root, here, path, key)
}

// nearestKey says which key of a message was probably meant.
func nearestKey(here protoreflect.MessageDescriptor, where, key string) string {
	near, steps := nearest(here, key)
	if steps <= max(maxMistaken, len(key)/2) {
		return fmt.Sprintf("unknown key %q in %s: did you mean %q?", key, where, near)
	}
	return fmt.Sprintf("unknown key %q in %s: known keys are %s (the nearest is %q)", key, where, strings.Join(keys(here), ", "), near)
}

// maxMistaken is how far from a key a short one may be to be taken for it.
const maxMistaken = 2

// nearest returns the key of a message that is nearest to another, and how far it is.
func nearest(here protoreflect.MessageDescriptor, key string) (string, int) {
	near := slices.MinFunc(keys(here), func(a, b string) int { return distance(key, a) - distance(key, b) })
	return near, distance(key, near)
}

// distance compares names as people mistake them: neither case nor the marks between words count.
func distance(a, b string) int {
	plain := func(s string) string { return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s)) }
	return levenshtein.ComputeDistance(plain(a), plain(b))
}

func keys(md protoreflect.MessageDescriptor) []string {
	names := make([]string, md.Fields().Len())
	for i := range names {
		names[i] = string(md.Fields().Get(i).Name())
	}
	return names
}

// find lists the paths of all keys of that name.
func find(md protoreflect.MessageDescriptor, key, path string) []string {
	var paths []string
	for i := range md.Fields().Len() {
		f := md.Fields().Get(i)
		at := join(path, string(f.Name()))
		if string(f.Name()) == key {
			paths = append(paths, at)
		}
		if f.Message() != nil && !f.IsMap() {
			paths = append(paths, find(f.Message(), key, at)...)
		}
	}
	return paths
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
