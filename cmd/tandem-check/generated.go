package main

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"
)

// sameGenerated compares the generated Go files of two trees: a fresh one, and the one that is kept.
func sameGenerated(fresh, kept fs.FS) problems {
	var p problems
	a, err := generatedFiles(fresh)
	if err != nil {
		return problems{err: err}
	}
	b, err := generatedFiles(kept)
	if err != nil {
		return problems{err: err}
	}
	for name, text := range a {
		old, there := b[name]
		switch {
		case !there:
			p.add("%s: not generated yet: run make generate and commit it", name)
		case !bytes.Equal(text, old):
			p.add("%s: differs from what its .proto gives: run make generate and commit it", name)
		}
	}
	for name := range b {
		if _, there := a[name]; !there {
			p.add("%s: no .proto gives it: delete it", name)
		}
	}
	slices.Sort(p.list)
	return p
}

func generatedFiles(tree fs.FS) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !(strings.HasSuffix(name, ".pb.go") || strings.HasSuffix(name, ".connect.go")) {
			return err
		}
		files[name], err = fs.ReadFile(tree, name)
		return err
	})
	return files, err
}
