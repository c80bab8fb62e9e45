package main

import (
	"strings"
	"testing"
)

func TestSummarise(t *testing.T) {
	const passing = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet please\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"output","Package":"p","Output":"ok p 0.2s\n"}
{"Action":"pass","Package":"p","Elapsed":0.2}
`
	tests := map[string]struct {
		in   string
		ok   bool
		has  []string
		last string
	}{
		"passes": {passing, true, []string{"ok    p 0.2s\n"}, "1 passed, 0 failed, 0 skipped"},
		"fails": {passing + `{"Action":"run","Package":"q","Test":"TestB"}
{"Action":"output","Package":"q","Test":"TestB","Output":"    b_test.go:3: it broke\n"}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"fail","Package":"q","Elapsed":1}
`, false, []string{"it broke", "FAIL  q 1.0s"}, "1 passed, 1 failed, 0 skipped"},
		"skips": {passing + `{"Action":"run","Package":"q","Test":"TestB"}
{"Action":"output","Package":"q","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"q","Test":"TestB","Output":"    b_test.go:3: no GPU here\n"}
{"Action":"output","Package":"q","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"q","Test":"TestB"}
{"Action":"pass","Package":"q"}
`, true, []string{"skipped: q TestB: b_test.go:3: no GPU here\n"}, "1 passed, 0 failed, 1 skipped"},
		"a package without tests is no skip": {passing + `{"Action":"output","Package":"q","Output":"? q [no test files]\n"}
{"Action":"skip","Package":"q"}
`, true, nil, "1 passed, 0 failed, 0 skipped"},
		"does not build": {passing + `{"ImportPath":"q","Action":"build-output","Output":"q.go:1: undefined: x\n"}
{"ImportPath":"q","Action":"build-fail"}
{"Action":"start","Package":"q"}
{"Action":"output","Package":"q","Output":"FAIL q [build failed]\n"}
{"Action":"fail","Package":"q","FailedBuild":"q"}
`, false, []string{"undefined: x", "[build failed]"}, "1 passed, 1 failed, 0 skipped"},
		"dies in the middle": {passing + `{"Action":"run","Package":"q","Test":"TestB"}
{"Action":"output","Package":"q","Test":"TestB","Output":"last words\n"}
`, false, []string{"last words"}, "1 passed, 1 failed, 0 skipped"},
		"go itself speaks": {"go: no such tool\n" + passing, true, []string{"go: no such tool"}, "1 passed, 0 failed, 0 skipped"},
		"nothing ran":      {"", false, nil, "0 passed, 0 failed, 0 skipped"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			ok, err := summarise(strings.NewReader(tt.in), &out)
			if err != nil {
				t.Fatal(err)
			}
			if ok != tt.ok {
				t.Errorf("ok is %v", ok)
			}
			for _, want := range tt.has {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in:\n%s", want, out.String())
				}
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if got := lines[len(lines)-1]; got != tt.last {
				t.Errorf("last line %q, want %q", got, tt.last)
			}
			if strings.Contains(out.String(), "quiet please") {
				t.Error("shows the output of a test that passed")
			}
		})
	}
}
