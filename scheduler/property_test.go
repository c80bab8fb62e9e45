package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestInvariants checks on random clusters what doc.go promises.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := snapshots(t)
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
		givesHelp(t, c, plan)
		next := after(c, plan)
		if again := Schedule(next); len(again.Grants)+len(again.Gives) > 0 {
			t.Fatalf("a second pass grants %v and has %v given", again.Grants, again.Gives)
		}
		slices.Reverse(c.Nodes)
		slices.Reverse(c.Running)
		slices.Reverse(c.Pending)
		if diff := cmp.Diff(plan, Schedule(c)); diff != "" {
			t.Fatalf("another order of the input gives another plan: %s", diff)
		}
	})
}

// givesHelp: only claims of a lower priority give, no more than they can, to the first in line of their pool; with what is given and left it
// begins, and with one slot less it would not. Where claims could help and nothing is given, enough is left already.
func givesHelp(t *rapid.T, c Snapshot, plan Plan) {
	for _, pool := range []string{"a", "b"} {
		first := slices.IndexFunc(plan.Waiting, func(w Wait) bool { return w.Code == Busy && w.Args["pool"] == pool && w.Args["next"] == "true" })
		var to Request
		able, leaving, given := 0, 0, 0
		if first >= 0 {
			to = c.Pending[slices.IndexFunc(c.Pending, func(r Request) bool { return r.ID == plan.Waiting[first].ID })]
		}
		for _, claim := range c.Running {
			if claim.Pool != pool {
				continue
			}
			gives := 0
			for _, g := range plan.Gives {
				if g.ID == claim.ID {
					gives += g.Slots
					if gives > claim.Gives || g.Slots < 1 || first < 0 || g.To != to.Name || claim.Priority >= to.Priority {
						t.Fatalf("%v of %v", g, claim)
					}
				}
			}
			leaving, given = leaving+claim.Leaving, given+gives
			if first >= 0 && claim.Priority < to.Priority {
				able += claim.Gives
			}
		}
		if first < 0 {
			continue
		}
		left := leaving
		for _, n := range after(c, plan).Nodes {
			if n.Pool == pool && n.Unavailable == "" {
				left += len(n.Free)
			}
		}
		// A spare request that waits took nothing, and what came behind it may still have.
		parted := slices.ContainsFunc(c.Nodes, func(n Node) bool { return len(n.Parted) > 0 })
		switch {
		case given > 0 && left+given != to.least():
			t.Fatalf("%s needs %d; %d are left or leave, and %d are given", to.ID, to.least(), left, given)
		case given == 0 && !parted && left < to.least() && left+able >= to.least():
			t.Fatalf("%s needs %d; %d are left or leave, %d could be given, and none are", to.ID, to.least(), left, able)
		}
	}
}

// noneOvertaken: who could be satisfied on an idle pool is not overtaken there.
func noneOvertaken(t *rapid.T, c Snapshot, granted map[string]Grant) {
	blocked := map[string]string{}
	queue := pass{}
	queue.order(c.Pending)
	for _, r := range queue.queue {
		_, ok := granted[r.ID]
		if first := blocked[r.Pool]; ok && first != "" {
			t.Fatalf("%s overtook %s", r.ID, first)
		}
		capacity := mostTogether(c, r.Request, func(n Node) int { return n.Slots - n.Serving })
		if !ok && !r.Spare && r.least() <= capacity {
			blocked[r.Pool] = r.ID
		}
	}
}

// mostTogether finds by trying all sets of nodes how many slots a request could get on nodes that reach each other.
func mostTogether(c Snapshot, r Request, slots func(Node) int) int {
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
func reaches(c Snapshot, id string, others []string) bool {
	for _, n := range c.Nodes {
		for _, o := range others {
			if n.ID == id && slices.Contains(n.Parted, o) || n.ID == o && slices.Contains(n.Parted, id) {
				return false
			}
		}
	}
	return true
}

func snapshots(t *rapid.T) Snapshot {
	pool := rapid.SampledFrom([]string{"a", "b"})
	var c Snapshot
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
	for i := range rapid.IntRange(0, 4).Draw(t, "claims") {
		c.Running = append(c.Running, Claim{
			ID: fmt.Sprintf("c%d", i), Pool: pool.Draw(t, "pool"), Priority: rapid.IntRange(-1, 1).Draw(t, "priority"),
			CreatedAt: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "created")), 0),
			Gives:     rapid.IntRange(0, 3).Draw(t, "gives"), Leaving: rapid.IntRange(0, 1).Draw(t, "leaving"),
		})
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

func isFree(c Snapshot, at Placement) bool {
	return slices.ContainsFunc(c.Nodes, func(n Node) bool {
		return n.ID == at.Node && n.Unavailable == "" && slices.Contains(n.Free, at.Slot)
	})
}

// after carries out the plan; what is given is about to be set free.
func after(c Snapshot, plan Plan) Snapshot {
	next := Snapshot{Running: slices.Clone(c.Running)}
	for _, n := range c.Nodes {
		n.Free = slices.DeleteFunc(slices.Clone(n.Free), func(slot string) bool {
			return slices.ContainsFunc(plan.Grants, func(g Grant) bool { return slices.Contains(g.Placements, Placement{n.ID, slot}) })
		})
		next.Nodes = append(next.Nodes, n)
	}
	for _, g := range plan.Gives {
		claim := &next.Running[slices.IndexFunc(next.Running, func(c Claim) bool { return c.ID == g.ID })]
		claim.Gives, claim.Leaving = claim.Gives-g.Slots, claim.Leaving+g.Slots
	}
	for _, r := range c.Pending {
		if !slices.ContainsFunc(plan.Grants, func(g Grant) bool { return g.ID == r.ID }) {
			next.Pending = append(next.Pending, r)
		}
	}
	return next
}
