package identity

import (
	"net/url"
	"strings"
	"testing"
)

func TestURIRoundTrip(t *testing.T) {
	want := Identity{Cluster: "cluster-a", Role: RoleWorker, Node: "node-1"}
	if got, err := ParseURI(want.URI()); err != nil || got != want {
		t.Fatalf("got %v, %v", got, err)
	}
	for _, bad := range []string{"tandem://c/admin/n", "https://c/worker/n", "tandem:///worker/n", "tandem://c/worker/", "tandem://c/worker", "tandem://c/worker/n/m"} {
		u, err := url.Parse(bad)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseURI(u); err == nil {
			t.Errorf("%s was read as %v", bad, got)
		}
	}
}

func FuzzParseJoinToken(f *testing.F) {
	good := "tdmjoin.worker." + strings.Repeat("A", 43) + "." + strings.Repeat("0f", 32)
	f.Add(good)
	f.Add("tdmjoin.worker.x.y")
	f.Add("tdmjoin.admin." + strings.Repeat("A", 43) + "." + strings.Repeat("0f", 32))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseJoinToken(s)
		if err == nil && token.String() != strings.TrimSpace(s) {
			t.Errorf("%q was read as %q", s, token)
		}
		if s == good && err != nil {
			t.Errorf("%q was refused: %v", s, err)
		}
	})
}
