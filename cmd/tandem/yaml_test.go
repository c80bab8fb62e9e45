package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	yaml "go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// TestEncodeYAML: what a reader of YAML 1.1 or 1.2 could take for a number, a time, a truth or a marker stands in quotes, and so does
// what steers a terminal.
func TestEncodeYAML(t *testing.T) {
	for in, want := range map[string]string{
		`{"b":[1,{"x":"y z"}],"a":{},"c":[]}`: "b:\n- 1\n- x: y z\na: {}\nc: []\n",
		`[".inf","<<","=","1e3","0x1","1:30","2026-11-30","-","~","No","y","null","TRUE",""," a","a ","a: b","a #b","%a","@a","&a","*a","!a","?","[","{"]`: `- ".inf"
- "<<"
- "="
- "1e3"
- "0x1"
- "1:30"
- "2026-11-30"
- "-"
- "~"
- "No"
- "y"
- "null"
- "TRUE"
- ""
- " a"
- "a "
- "a: b"
- "a #b"
- "%a"
- "@a"
- "&a"
- "*a"
- "!a"
- "?"
- "["
- "{"
`,
		`["\u001b]0;owned\u0007\u001b[2J","\u009b31m","a\u202eb","\ud83d\udc08","\udb40\udc01","a\r\nb"]`: `- "\e]0;owned\a\e[2J"` + "\n" + `- "\x9B31m"` + "\n" +
			`- "a\u202eb"` + "\n" + `- "\U0001F408"` + "\n" + `- "\U000E0001"` + "\n" + `- "a\r\nb"` + "\n",
		`{"<<":1,"\u001b":2}`:           `"<<": 1` + "\n" + `"\e": 2` + "\n",
		`[1e-05,1E21,0.1,-7,true,null]`: "- 1.0e-05\n- 1.0e+21\n- 0.1\n- -7\n- true\n- null\n",
		`"a\nb\n"`:                      "|\n  a\n  b\n",
	} {
		got, err := encodeYAML([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n%q, want\n%q", in, err, got, want)
		}
	}
	for _, bad := range []string{"", "{", "1 2", "x"} {
		if got, err := encodeYAML([]byte(bad)); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

// TestYAMLKeepsItsValues: whatever the text, two readers of YAML find the values again, and no character steers a terminal.
func TestYAMLKeepsItsValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOf(rapid.OneOf(rapid.String(), rapid.StringMatching(`[-+.:~=<>!&*%@|{}\[\]#?,'" \n\t0-9a-yA-F_]{0,9}`)))
		value := map[string]any{}
		for _, key := range texts.Draw(t, "keys") {
			list := []any{}
			for _, s := range texts.Draw(t, "list") {
				list = append(list, s)
			}
			value[key] = list
		}
		in, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out, err := encodeYAML(in)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(strings.ReplaceAll(string(out), "\n", ""), func(r rune) bool { return r != '\t' && !unicode.IsGraphic(r) }) {
			t.Errorf("%q", out)
		}
		again := map[string]any{}
		if err := yaml.Unmarshal(out, &again); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if diff := cmp.Diff(value, again); diff != "" {
			t.Errorf("%s in\n%s", diff, out)
		}
	})
}

// TestYAMLOfAStream: several values are several documents.
func TestYAMLOfAStream(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, output: "yaml"}
	for range 2 {
		if err := a.writeJSON([]byte(`{"line":"\u001b[2J"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if want := "line: \"\\e[2J\"\n---\nline: \"\\e[2J\"\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	a.output = "json"
	if err := a.writeJSON([]byte("[\"\u009b\U000e0001\"]\n")); err != nil || out.String() != `["\u009b\udb40\udc01"]`+"\n" {
		t.Errorf("%v %q", err, out.String())
	}
}
