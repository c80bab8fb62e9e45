package scheduler

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestFairShare compares what projects get with weighted max-min shares, worked out by pouring water: where all requests are of one slot,
// no project gets a whole slot more than its part.
func TestFairShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 12).Draw(t, "slots")
		s := Snapshot{Nodes: []Node{{ID: "n", Pool: "a", Slots: 24}}}
		for i := range slots {
			s.Nodes[0].Free = append(s.Nodes[0].Free, fmt.Sprint("cpu", i))
		}
		projects := map[string]*basin{}
		for i := range rapid.IntRange(1, 4).Draw(t, "projects") {
			name := fmt.Sprint("p", i)
			b := &basin{
				weight: float64(rapid.IntRange(1, 4).Draw(t, "weight")), recent: float64(rapid.IntRange(0, 6).Draw(t, "recent")),
				held: rapid.IntRange(0, 3).Draw(t, "held"), wants: rapid.IntRange(0, 8).Draw(t, "wants"),
			}
			projects[name] = b
			s.Queues = append(s.Queues, Queue{Project: name, Pool: "a", Weight: b.weight, Recent: b.recent})
			s.Running = append(s.Running, Claim{ID: name, Project: name, Pool: "a", Slots: b.held})
			for n := range b.wants {
				id := fmt.Sprintf("%s-%d", name, n)
				s.Pending = append(s.Pending, Request{
					ID: id, Name: id, Project: name, Pool: "a", Slots: 1, CreatedAt: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "created")), 0),
				})
			}
		}
		wanted, granted := 0, 0
		of := map[string]string{}
		for _, r := range s.Pending {
			of[r.ID] = r.Project
			wanted++
		}
		for _, g := range Schedule(s).Grants {
			projects[of[g.ID]].got++
			granted++
		}
		if granted != min(wanted, slots) {
			t.Fatalf("%d slots are granted of %d that are free, and %d are wanted", granted, slots, wanted)
		}
		level := fill(projects, float64(granted))
		for name, b := range projects {
			if part := b.at(level); float64(b.got) > part+1+1e-6 {
				t.Fatalf("%s gets %d slots, and its part is %f: %+v", name, b.got, part, *b)
			}
		}
	})
}

// basin is a project: as wide as its weight, filled already with what it held and holds, and full when it has what it wants.
type basin struct {
	weight, recent   float64
	held, wants, got int
}

// at is what it takes when all are filled up to a level.
func (b *basin) at(level float64) float64 {
	return min(max(level*b.weight-b.recent-float64(b.held), 0), float64(b.wants))
}

// fill finds by halving up to which level all are when so much is poured.
func fill(projects map[string]*basin, water float64) float64 {
	low, high := 0.0, 1000.0
	for range 100 {
		level, total := (low+high)/2, 0.0
		for _, b := range projects {
			total += b.at(level)
		}
		if total < water {
			low = level
		} else {
			high = level
		}
	}
	return high
}
