package client

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzFile: contexts that can be read can be asked for.
func FuzzFile(f *testing.F) {
	good := &File{Current: "a", Contexts: []Context{
		{Name: "a", Endpoints: []string{"127.0.0.1:7070", "[::1]:7070"}, CA: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", Token: "tdm_a"},
		{Name: "b", Endpoints: []string{"b.example:1"}, Token: "tdm_b"},
	}}
	text, err := good.encode()
	if err != nil {
		f.Fatal(err)
	}
	again := &File{}
	if err := again.parse(text); err != nil {
		f.Fatal(err)
	}
	if diff := cmp.Diff(good, again, cmpopts.IgnoreUnexported(File{})); diff != "" {
		f.Fatalf("what was written is not what is read:\n%s", diff)
	}
	for _, seed := range []string{
		string(text), "", "null", "[]", "current: a", "current: [a]", "contexts: {}", "contexts: [null]", "contexts: [{name: a}, {name: a}]",
		"contexts: [{name: ../a}]", "nonsense: 1", "contexts: !tag 0", "current: *x", "current: &x x\ncontexts: [*x]", "\t", "a: {", "contexts:\n- name: a\n  endpoints: x\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file := &File{}
		if err := file.parse(b); err != nil {
			return
		}
		for _, name := range file.Names() {
			if c, err := file.Get(name); err != nil || c.Name != name {
				t.Errorf("context %q: %+v, %v", name, c, err)
			}
			file.Delete(name)
			if _, err := file.Get(name); err == nil {
				t.Errorf("context %q is still there", name)
			}
		}
	})
}
