package main

import (
	"strings"
	"testing"
)

// TestMissingFlag: a flag that a command cannot do without is named, with what it is, before anything is asked of the cluster.
func TestMissingFlag(t *testing.T) {
	ca := newAuthority(t)
	u := newUser(t, ca.pem, ca.serve(t, &fake{}))
	u.want(u.run("scale", "digits"), exitUsage, "--workers is missing: how many workers", "tandem scale --help")
	u.want(u.run("sweep", "extend", "digits"), exitUsage, "--max-trials is missing: ")
}

// TestCompletion: what a shell offers for flags.
func TestCompletion(t *testing.T) {
	ca := newAuthority(t)
	u := newUser(t, ca.pem, ca.serve(t, &fake{}))
	for _, tc := range []struct{ args, has, not string }{
		{"submit --set p", "priority= publish.", "training."},
		{"fork digits --set training.", "training.batch= training.optimizer. training.seed=", "priority="},
		{"submit --set training.optimizer.l", "training.optimizer.lr=", "training.optimizer.name="},
		{"submit --set training.nothing.", "", "training"},
		{"submit --set search.space.", "", "search"},
		{"list -o ", "table wide json yaml", "csv"},
		{"metrics digits -o ", "csv json", "list"},
		{"sweep trials digits -o ", "csv yaml", "list"},
	} {
		words := strings.Split(tc.args, " ")
		u.want(u.run(append([]string{"__complete"}, words...)...), exitOK)
		offered := strings.Split(u.out.String(), "\n")
		for _, want := range strings.Fields(tc.has) {
			if !containsWord(offered, want) {
				t.Errorf("%s: %q is not offered: %q", tc.args, want, offered)
			}
		}
		if containsWord(offered, tc.not) {
			t.Errorf("%s: %q is offered: %q", tc.args, tc.not, offered)
		}
	}
}

func containsWord(lines []string, word string) bool {
	for _, l := range lines {
		if name, _, _ := strings.Cut(l, "\t"); name == word || word == "training" && strings.HasPrefix(name, "training") {
			return true
		}
	}
	return false
}
