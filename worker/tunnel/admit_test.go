package tunnel

import (
	"errors"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// TestAdmit asks for streams of a rank that listens at one address, for generation 3 of one allocation, whose other node is node-b.
func TestAdmit(t *testing.T) {
	now := Group{"alloc-a", 3}
	at := netip.AddrPortFrom(Address(now, 0), 4000)
	rank := Member{Engine: "alloc-a/0", Group: now, Peers: []Peer{{"node-b", "b:1"}}}
	moved := rank
	moved.Group.Generation = 4
	other := Member{Engine: "alloc-z/0", Group: Group{"alloc-z", 3}, Peers: []Peer{{"node-z", "z:1"}}}
	for name, tc := range map[string]struct {
		members []Member
		node    string
		group   Group
		to      netip.AddrPort
		want    error
	}{
		"a peer":                          {[]Member{other, rank}, "node-b", now, at, nil},
		"a node without a rank":           {[]Member{other, rank}, "node-c", now, at, ErrRefused},
		"a peer of another group":         {[]Member{other, rank}, "node-z", now, at, ErrRefused},
		"for its own group":               {[]Member{other, rank}, "node-z", other.Group, at, ErrRefused},
		"nobody":                          {[]Member{other, rank}, "", now, at, ErrRefused},
		"of an older generation":          {[]Member{rank}, "node-b", Group{"alloc-a", 2}, at, ErrRefused},
		"of a later one":                  {[]Member{rank}, "node-b", Group{"alloc-a", 4}, at, ErrRefused},
		"after the rank was told to move": {[]Member{moved}, "node-b", now, at, ErrRefused},
		"after the rank has ended":        {[]Member{other}, "node-b", now, at, ErrRefused},
		"to another port":                 {[]Member{rank}, "node-b", now, netip.AddrPortFrom(at.Addr(), 22), ErrRefused},
		"to another address":              {[]Member{rank}, "node-b", now, netip.MustParseAddrPort("127.0.0.1:4000"), ErrRefused},
	} {
		if err := Admit(tc.members, Announced{at: rank}, tc.node, tc.group, tc.to); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// TestAddress: ranks of one group, and of the generation after, have addresses of their own within the part of loopback that is theirs.
func TestAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := Group{rapid.String().Draw(t, "allocation"), rapid.Int64().Draw(t, "generation")}
		next := Group{g.Allocation, g.Generation + 1}
		for rank := range int32(8) {
			if a := Address(g, rank); !within.Contains(a) || !a.IsLoopback() || a != Address(g, rank) {
				t.Fatalf("rank %d: %v", rank, a)
			}
		}
		if Address(g, 0) == Address(g, 1) && Address(g, 0) == Address(next, 0) {
			t.Fatalf("%v everywhere", Address(g, 0))
		}
	})
	if got, want := Address(Group{"alloc-a", 3}, 1).String(), "127.120.194.199"; got != want {
		t.Errorf("%s, want %s: both agents of a stream have to compute the same", got, want)
	}
}
