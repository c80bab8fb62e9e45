package scheduler

import (
	stdcmp "cmp"
	"fmt"
	"slices"
	"strings"
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
		inTurns(t, c)
		givesHelp(t, c, plan)
		next := after(c, plan)
		if again := Schedule(next); len(again.Grants)+len(again.Gives)+len(again.Parks) > 0 {
			t.Fatalf("a second pass grants %v, has %v given and %v parked", again.Grants, again.Gives, again.Parks)
		}
		slices.Reverse(c.Nodes)
		slices.Reverse(c.Running)
		slices.Reverse(c.Pending)
		slices.Reverse(c.Queues)
		if diff := cmp.Diff(plan, Schedule(c)); diff != "" {
			t.Fatalf("another order of the input gives another plan: %s", diff)
		}
	})
}

// givesHelp: only claims that yield to the first in line of their pool give or are parked, none both, no more than they can; with what is
// given, parked and left it begins, and without one of these it would not. Nobody is parked where giving is enough. Where claims could
// help and nothing comes of it, enough is left already.
func givesHelp(t *rapid.T, c Snapshot, plan Plan) {
	for _, pool := range []string{"a", "b"} {
		var to Request
		first := slices.IndexFunc(plan.Waiting, func(w Wait) bool { return w.Code == Busy && w.Args["pool"] == pool && w.Args["next"] == "true" })
		if first >= 0 {
			to = c.Pending[slices.IndexFunc(c.Pending, func(r Request) bool { return r.ID == plan.Waiting[first].ID })]
		}
		sizes := sizesBeside(c, plan, pool, to)
		left, canGive, canFree := 0, 0, 0
		var helps []int // slots of each that gives or is parked
		parks, given := 0, 0
		for _, claim := range c.Running {
			if claim.Pool != pool {
				continue
			}
			left += claim.Leaving
			give := slices.IndexFunc(plan.Gives, func(g Give) bool { return g.ID == claim.ID })
			park := slices.IndexFunc(plan.Parks, func(k Park) bool { return k.ID == claim.ID })
			mayPark := claim.Parks && (claim.OnLoan || !claim.Protected)
			has, had := sizes[claim.Project], sizes[to.Project]
			before := stdcmp.Or(stdcmp.Compare(had.firm, has.all), to.CreatedAt.Compare(claim.CreatedAt), strings.Compare(to.ID, claim.ID)) < 0
			if claim.Project == to.Project || len(sizes) == 0 {
				before = stdcmp.Or(to.CreatedAt.Compare(claim.CreatedAt), strings.Compare(to.ID, claim.ID)) < 0
			}
			yields := first >= 0 && (claim.Priority < to.Priority || claim.OnLoan && claim.Priority == to.Priority && before)
			switch {
			case give >= 0 && park >= 0:
				t.Fatalf("%s gives and is parked", claim.ID)
			case give >= 0:
				if g := plan.Gives[give]; !yields || g.Slots < 1 || g.Slots > claim.Gives || g.To != to.Name {
					t.Fatalf("%v of %v", g, claim)
				}
				given++
				helps = append(helps, plan.Gives[give].Slots)
			case park >= 0:
				if k := plan.Parks[park]; !yields || !mayPark || k.To != to.Name {
					t.Fatalf("%v of %v", k, claim)
				}
				parks++
				helps = append(helps, claim.Slots)
			}
			if yields {
				canGive += claim.Gives
				if canFree += claim.Gives; mayPark {
					canFree += claim.Slots - claim.Gives
				}
			}
		}
		if first < 0 {
			continue
		}
		for _, n := range after(c, plan).Nodes {
			if n.Pool == pool && n.Unavailable == "" {
				left += len(n.Free)
			}
		}
		for _, g := range plan.Grants { // what is lent was free when it was its turn
			r := c.Pending[slices.IndexFunc(c.Pending, func(r Request) bool { return r.ID == g.ID })]
			if g.OnLoan && r.Pool == pool {
				left += len(g.Placements)
			}
		}
		total := left
		for _, n := range helps {
			total += n
		}
		unreachable := slices.ContainsFunc(c.Nodes, func(n Node) bool { return len(n.Unreachable) > 0 })
		switch {
		case len(helps) > 0 && total < to.least():
			t.Fatalf("%s needs %d; %d are left or leave, and only %v are set free", to.ID, to.least(), left, helps)
		case len(helps) > 0 && given > 0 && total != to.least():
			t.Fatalf("%s needs %d; %d are left or leave, and %v are set free", to.ID, to.least(), left, helps)
		case len(helps) > 0 && slices.ContainsFunc(helps, func(n int) bool { return total-n >= to.least() }):
			t.Fatalf("%s needs %d; %d are left or leave, and not all of %v are needed", to.ID, to.least(), left, helps)
		case parks > 0 && left+canGive >= to.least():
			t.Fatalf("%s needs %d; %d are left or leave, %d can be given, and %d are parked", to.ID, to.least(), left, canGive, parks)
		case len(helps) == 0 && !unreachable && left < to.least() && left+canFree >= to.least():
			t.Fatalf("%s needs %d; %d are left or leave, %d could be set free, and none are", to.ID, to.least(), left, canFree)
		}
	}
}

// sized is the share of a project: without what it has on loan, and with it.
type sized struct{ firm, all float64 }

// sizesBeside are the shares of projects that count beside a request; none where the pool is not shared fairly.
func sizesBeside(c Snapshot, plan Plan, pool string, to Request) map[string]sized {
	all := map[string]sized{}
	if !slices.ContainsFunc(c.Queues, func(q Queue) bool { return q.Pool == pool }) {
		return all
	}
	for _, project := range []string{"", "x", "y"} {
		q := Queue{Weight: 1}
		if i := slices.IndexFunc(c.Queues, func(q Queue) bool { return q.Pool == pool && q.Project == project }); i >= 0 {
			q = c.Queues[i]
		}
		firm, lent := 0, 0
		for _, claim := range c.Running {
			if n := claim.Slots + claim.Leaving; claim.Pool == pool && claim.Project == project && claim.Priority >= to.Priority {
				if claim.OnLoan {
					lent += n
				} else {
					firm += n
				}
			}
		}
		for _, g := range plan.Grants {
			if r := c.Pending[slices.IndexFunc(c.Pending, func(r Request) bool { return r.ID == g.ID })]; r.Pool == pool && r.Project == project && !g.OnLoan {
				firm += len(g.Placements)
			}
		}
		all[project] = sized{(q.Recent + float64(firm)) / q.Weight, (q.Recent + float64(firm+lent)) / q.Weight}
	}
	return all
}

// inTurns: of one project, and where nothing is shared fairly, requests come by priority, spare ones last, then by age.
func inTurns(t *rapid.T, c Snapshot) {
	queue := decide(c).queue
	for i, after := range queue {
		for _, before := range queue[:i] {
			unfair := before.share == nil && after.share == nil
			if (inLevels(after.Request, before.Request) < 0) || (unfair || before.Pool == after.Pool && before.Project == after.Project) && inOrder(after.Request, before.Request) < 0 {
				t.Fatalf("%v comes before %v", before.Request, after.Request)
			}
		}
	}
}

// noneOvertaken: who could be satisfied on an idle pool is not overtaken there but on loan, which is for what sets its slots free in time.
func noneOvertaken(t *rapid.T, c Snapshot, granted map[string]Grant) {
	blocked := map[string]string{}
	for _, r := range decide(c).queue {
		g, ok := granted[r.ID]
		if first := blocked[r.Pool]; ok && (first != "") != g.OnLoan {
			t.Fatalf("%s overtook %q, on loan: %v", r.ID, first, g.OnLoan)
		}
		if g.OnLoan && !r.Parks && (r.Limit == 0 || r.Limit > 5*time.Minute) {
			t.Fatalf("%s cannot be parked, and has slots on loan", r.ID)
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
			if n.ID == id && slices.Contains(n.Unreachable, o) || n.ID == o && slices.Contains(n.Unreachable, id) {
				return false
			}
		}
	}
	return true
}

func snapshots(t *rapid.T) Snapshot {
	pool, project := rapid.SampledFrom([]string{"a", "b"}), rapid.SampledFrom([]string{"", "x", "y"})
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
		if len(c.Nodes) > 0 && rapid.IntRange(0, 3).Draw(t, "unreachable") == 0 {
			n.Unreachable = []string{rapid.SampledFrom(c.Nodes).Draw(t, "from").ID}
		}
		c.Nodes = append(c.Nodes, n)
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "claims") {
		gives := rapid.IntRange(0, 3).Draw(t, "gives")
		claim := Claim{
			ID: fmt.Sprintf("c%d", i), Project: project.Draw(t, "project"), Pool: pool.Draw(t, "pool"), Priority: rapid.IntRange(-1, 1).Draw(t, "priority"),
			CreatedAt: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "created")), 0),
			Gives:     gives, Slots: gives + rapid.IntRange(0, 3).Draw(t, "slots"), Leaving: rapid.IntRange(0, 1).Draw(t, "leaving"),
			Parks: rapid.Bool().Draw(t, "parks"), Protected: rapid.Bool().Draw(t, "protected"), OnLoan: rapid.Bool().Draw(t, "loan"),
			Unsaved: minutes(t, "unsaved"),
		}
		if rapid.Bool().Draw(t, "predicted") {
			claim.Ends.Low = minutes(t, "low")
			claim.Ends.High = claim.Ends.Low + time.Minute
		}
		c.Running = append(c.Running, claim)
	}
	for i := range rapid.IntRange(0, 8).Draw(t, "jobs") {
		id := fmt.Sprintf("j%d", i)
		wanted := rapid.IntRange(1, 7).Draw(t, "wanted")
		c.Pending = append(c.Pending, Request{
			ID: id, Name: id, Project: project.Draw(t, "project"), Pool: pool.Draw(t, "pool"),
			Slots: wanted, Min: rapid.IntRange(0, wanted).Draw(t, "min"), Spare: rapid.IntRange(0, 3).Draw(t, "spare") == 0,
			Priority:  rapid.IntRange(-1, 1).Draw(t, "priority"),
			CreatedAt: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "created")), 0),
			With:      rapid.SampledFrom([][]string{nil, nil, {"n0"}, {"n1", "n2"}}).Draw(t, "with"),
			Parks:     rapid.Bool().Draw(t, "parks"), Limit: minutes(t, "limit"),
		})
	}
	for _, name := range []string{"", "x", "y"} {
		for _, of := range []string{"a", "b"} {
			if rapid.Bool().Draw(t, "queue") {
				c.Queues = append(c.Queues, Queue{
					Project: name, Pool: of,
					Weight: float64(rapid.IntRange(1, 3).Draw(t, "weight")), Recent: float64(rapid.IntRange(0, 4).Draw(t, "recent")),
				})
			}
		}
	}
	return c
}

func minutes(t *rapid.T, name string) time.Duration {
	return time.Duration(rapid.IntRange(0, 5).Draw(t, name)) * time.Minute
}

func isFree(c Snapshot, at Placement) bool {
	return slices.ContainsFunc(c.Nodes, func(n Node) bool {
		return n.ID == at.Node && n.Unavailable == "" && slices.Contains(n.Free, at.Slot)
	})
}

// after carries out the plan; what is given is about to be set free.
func after(c Snapshot, plan Plan) Snapshot {
	next := Snapshot{Running: slices.Clone(c.Running), Queues: c.Queues}
	for _, n := range c.Nodes {
		n.Free = slices.DeleteFunc(slices.Clone(n.Free), func(slot string) bool {
			return slices.ContainsFunc(plan.Grants, func(g Grant) bool { return slices.Contains(g.Placements, Placement{n.ID, slot}) })
		})
		next.Nodes = append(next.Nodes, n)
	}
	for _, g := range plan.Gives {
		claim := &next.Running[slices.IndexFunc(next.Running, func(c Claim) bool { return c.ID == g.ID })]
		claim.Gives, claim.Slots, claim.Leaving = claim.Gives-g.Slots, claim.Slots-g.Slots, claim.Leaving+g.Slots
	}
	for _, k := range plan.Parks {
		claim := &next.Running[slices.IndexFunc(next.Running, func(c Claim) bool { return c.ID == k.ID })]
		claim.Gives, claim.Slots, claim.Leaving, claim.Parks = 0, 0, claim.Leaving+claim.Slots, false
	}
	for _, r := range c.Pending {
		i := slices.IndexFunc(plan.Grants, func(g Grant) bool { return g.ID == r.ID })
		if i < 0 {
			next.Pending = append(next.Pending, r)
		} else if n := len(plan.Grants[i].Placements); r.Spare { // it goes to work that runs
			next.Running = append(next.Running, Claim{ID: r.ID, Project: r.Project, Pool: r.Pool, Priority: r.Priority, Slots: n})
		} else {
			next.Running = append(next.Running, Claim{
				ID: r.ID, Project: r.Project, Pool: r.Pool, Priority: r.Priority, CreatedAt: r.CreatedAt,
				Slots: n, Gives: n - min(n, r.least()), Parks: r.Parks, Protected: true, OnLoan: plan.Grants[i].OnLoan,
			})
		}
	}
	return next
}
