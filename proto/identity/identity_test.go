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

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{
		"tandem://cluster-a/worker/node-1", "tandem://cluster-a/coordinator/node-1", "tandem://c/admin/n", "tandem:///worker/n",
		"tandem://c/worker/a%2Fb", "tandem://u@c:1/worker/n?q#f", "", "/worker/n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		id, err := ParseURI(u)
		if err != nil {
			return
		}
		if id.Cluster == "" || id.Node == "" || !id.Role.Valid() || strings.Contains(id.Node, "/") {
			t.Errorf("%q was read as %+v", s, id)
		}
		if again, err := ParseURI(id.URI()); err != nil || again != id {
			t.Errorf("%+v became %+v, %v", id, again, err)
		}
	})
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
