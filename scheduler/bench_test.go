package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkSchedule decides on ten gangs per node that wait, where none, half or all of the slots are free.
func BenchmarkSchedule(b *testing.B) {
	for _, size := range []struct{ nodes, pending int }{{100, 1000}, {1000, 10_000}, {10_000, 100_000}} {
		for _, free := range []int{0, 4, 8} {
			b.Run(fmt.Sprintf("nodes=%d/pending=%d/free=%d", size.nodes, size.pending, free), func(b *testing.B) {
				benchmark(b, large(size.nodes, size.pending, free))
			})
			b.Run(fmt.Sprintf("nodes=%d/pending=%d/free=%d/projects=100", size.nodes, size.pending, free), func(b *testing.B) {
				benchmark(b, shared(large(size.nodes, size.pending, free), 100))
			})
		}
	}
}

func benchmark(b *testing.B, s Snapshot) {
	b.ReportAllocs()
	for b.Loop() {
		Schedule(s)
	}
}

// shared has so many projects wait, and share the pool fairly.
func shared(s Snapshot, projects int) Snapshot {
	for i := range projects {
		s.Queues = append(s.Queues, Queue{Project: fmt.Sprint(i), Pool: "default", Weight: float64(1 + i%3), Recent: float64(i % 7)})
	}
	for i := range s.Pending {
		s.Pending[i].Project = s.Queues[i%projects].Project
	}
	return s
}

// large is a cluster of nodes of 8 slots, so many of them free, and gangs of 1 to 64 slots that wait: most small, some large.
func large(nodes, pending, free int) Snapshot {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	var s Snapshot
	for i := range nodes {
		n := Node{ID: fmt.Sprintf("node-%05d", i), Pool: "default", Slots: 8}
		for slot := range free {
			n.Free = append(n.Free, fmt.Sprintf("cuda%d", slot))
		}
		s.Nodes = append(s.Nodes, n)
	}
	for i := range pending {
		id := fmt.Sprintf("trial-%06d", i)
		s.Pending = append(s.Pending, Request{
			ID: id, Name: id, Pool: "default", Slots: 1 << int(min(6, random.ExpFloat64()*2)), Priority: random.IntN(3),
			CreatedAt: time.Unix(int64(random.IntN(1e6)), 0),
		})
	}
	return s
}
