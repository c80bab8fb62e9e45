package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestInvariants checks on random clusters what doc.go promises.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := clusters(t)
		plan := Schedule(c)
		granted := map[string]Grant{}
		held := map[Placement]bool{}
		for _, g := range plan.Grants {
			granted[g.ID] = g
			for _, at := range g.Placements {
				if held[at] {
					t.Fatalf("slot %v is granted twice", at)
				}
				held[at] = true
				if !isFree(c, at) {
					t.Fatalf("%s was granted %v, which is not free or not available", g.ID, at)
				}
			}
		}
		for _, g := range plan.Grants {
			r := c.Pending[slices.IndexFunc(c.Pending, func(r Request) bool { return r.ID == g.ID })]
			on := slices.Clone(r.With)
			for _, at := range g.Placements {
				if !reaches(c, at.Node, on) {
					t.Fatalf("%s has slots on %v, and %s does not reach all of these", r.ID, on, at.Node)
				}
				on = append(on, at.Node)
			}
		}
		waiting := map[string]bool{}
		for _, w := range plan.Waiting {
			if w.Code == "" {
				t.Fatalf("%s waits without a reason", w.ID)
			}
			waiting[w.ID] = true
			shortOf(t, c, plan, w)
		}
		for _, r := range c.Pending {
			g, ok := granted[r.ID]
			if ok == waiting[r.ID] {
				t.Fatalf("%s is granted: %v, waiting: %v", r.ID, ok, waiting[r.ID])
			}
			if ok && (len(g.Placements) < r.least() || len(g.Placements) > r.Slots) {
				t.Fatalf("%s wanted %d to %d slots and got %d", r.ID, r.least(), r.Slots, len(g.Placements))
			}
		}
		noneOvertaken(t, c, granted)
		if again := Schedule(after(c, plan)); len(again.Grants) > 0 {
			t.Fatalf("a second pass grants %v", again.Grants)
		}
	})
}

// shortOf: with so many slots more as a wait says, and no fewer, its request would have been granted.
func shortOf(t *rapid.T, c Cluster, plan Plan, w Wait) {
	if w.Short == 0 || slices.ContainsFunc(c.Nodes, func(n Node) bool { return len(n.Parted) > 0 }) {
		return
	}
	r := c.Pending[slices.IndexFunc(c.Pending, func(r Request) bool { return r.ID == w.ID })]
	free := 0
	for _, n := range c.Nodes {
		if n.Pool == r.Pool && n.Unavailable == "" {
			free += len(n.Free)
		}
	}
	for _, g := range plan.Grants {
		if of := c.Pending[slices.IndexFunc(c.Pending, func(r Request) bool { return r.ID == g.ID })]; of.Pool == r.Pool && placeOf(c, of) < placeOf(c, r) {
			free -= len(g.Placements)
		}
	}
	if free+w.Short != r.least() {
		t.Fatalf("%s is short of %d slots; it needs %d, and %d are left for it", w.ID, w.Short, r.least(), free)
	}
}

// placeOf is where a request stands in the queue.
func placeOf(c Cluster, r Request) int {
	return slices.IndexFunc(inOrder(c.Pending), func(o Request) bool { return o.ID == r.ID })
}

// noneOvertaken: who could be satisfied on an idle pool is not overtaken there.
func noneOvertaken(t *rapid.T, c Cluster, granted map[string]Grant) {
	blocked := map[string]string{}
	for _, r := range inOrder(c.Pending) {
		_, ok := granted[r.ID]
		if first := blocked[r.Pool]; ok && first != "" {
			t.Fatalf("%s overtook %s", r.ID, first)
		}
		capacity := mostTogether(c, r, func(n Node) int { return n.Slots - n.Serving })
		if !ok && !r.Spare && r.least() <= capacity {
			blocked[r.Pool] = r.ID
		}
	}
}

// mostTogether finds by trying all sets of nodes how many slots a request could get on nodes that reach each other.
func mostTogether(c Cluster, r Request, slots func(Node) int) int {
	best := 0
	for set := range 1 << len(c.Nodes) {
		total, fits := 0, true
		var chosen []string
		for i, n := range c.Nodes {
			if set&(1<<i) == 0 {
				continue
			}
			fits = fits && n.Pool == r.Pool && n.Unavailable == "" && reaches(c, n.ID, r.With) && reaches(c, n.ID, chosen)
			chosen = append(chosen, n.ID)
			total += slots(n)
		}
		if fits {
			best = max(best, total)
		}
	}
	return best
}

// reaches says whether a node and others reach each other.
func reaches(c Cluster, id string, others []string) bool {
	for _, n := range c.Nodes {
		for _, o := range others {
			if n.ID == id && slices.Contains(n.Parted, o) || n.ID == o && slices.Contains(n.Parted, id) {
				return false
			}
		}
	}
	return true
}

func clusters(t *rapid.T) Cluster {
	pool := rapid.SampledFrom([]string{"a", "b"})
	var c Cluster
	for i := range rapid.IntRange(0, 5).Draw(t, "nodes") {
		n := Node{
			ID: fmt.Sprintf("n%d", i), Pool: pool.Draw(t, "pool"),
			Slots:       rapid.IntRange(1, 4).Draw(t, "slots"),
			Unavailable: rapid.SampledFrom([]string{"", "", "", "lost"}).Draw(t, "unavailable"),
		}
		for s := range n.Slots {
			if rapid.Bool().Draw(t, "free") {
				n.Free = append(n.Free, fmt.Sprintf("cpu%d", s))
			} else if rapid.Bool().Draw(t, "serving") {
				n.Serving++
			}
		}
		if len(c.Nodes) > 0 && rapid.IntRange(0, 3).Draw(t, "parted") == 0 {
			n.Parted = []string{rapid.SampledFrom(c.Nodes).Draw(t, "from").ID}
		}
		c.Nodes = append(c.Nodes, n)
	}
	for i := range rapid.IntRange(0, 8).Draw(t, "jobs") {
		id := fmt.Sprintf("j%d", i)
		wanted := rapid.IntRange(1, 7).Draw(t, "wanted")
		c.Pending = append(c.Pending, Request{
			ID: id, Name: id, Pool: pool.Draw(t, "pool"),
			Slots: wanted, Min: rapid.IntRange(0, wanted).Draw(t, "min"), Spare: rapid.IntRange(0, 3).Draw(t, "spare") == 0,
			Priority:  rapid.IntRange(-1, 1).Draw(t, "priority"),
			CreatedAt: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "created")), 0),
			With:      rapid.SampledFrom([][]string{nil, nil, {"n0"}, {"n1", "n2"}}).Draw(t, "with"),
		})
	}
	return c
}

func isFree(c Cluster, at Placement) bool {
	return slices.ContainsFunc(c.Nodes, func(n Node) bool {
		return n.ID == at.Node && n.Unavailable == "" && slices.Contains(n.Free, at.Slot)
	})
}

// after carries out the plan.
func after(c Cluster, plan Plan) Cluster {
	pools := newPools(c.Nodes)
	next := Cluster{}
	for _, g := range plan.Grants {
		for _, p := range pools {
			p.take(g.Placements)
		}
	}
	for _, p := range pools {
		next.Nodes = append(next.Nodes, p.nodes...)
	}
	for _, r := range c.Pending {
		if !slices.ContainsFunc(plan.Grants, func(g Grant) bool { return g.ID == r.ID }) {
			next.Pending = append(next.Pending, r)
		}
	}
	return next
}
