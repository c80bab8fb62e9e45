package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tandem.dev/scheduler"
)

// slotsEach is how many slots each node has; half of them are free, and as many gangs as this times the nodes wait.
const slotsEach, gangsEach = 8, 10

// growth prints what a pass takes on clusters of 100 to 10,000 nodes, and draws it: a bar grows with the time for each node, so that bars
// of the same length are linear growth.
func growth(w io.Writer, _ options) {
	fmt.Fprintln(w, "| nodes | gangs that wait | a pass | for each node | memory of a pass | time for each node |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, nodes := range []int{100, 300, 1000, 3000, 10_000} {
		s := cluster(nodes)
		r := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				scheduler.Schedule(s)
			}
		})
		pass := time.Duration(r.NsPerOp())
		each := pass / time.Duration(nodes)
		fmt.Fprintf(w, "| %d | %d | %.1f ms | %.1f µs | %.1f MiB | %s |\n", nodes, nodes*gangsEach, float64(pass)/1e6, float64(each)/1e3,
			float64(r.AllocedBytesPerOp())/(1<<20), strings.Repeat("█", int(each/(2*time.Microsecond))))
	}
	fmt.Fprintln(w)
}

// cluster has so many nodes, half of their slots free, and gangs of 1 to 64 slots that wait: most small, some large.
func cluster(nodes int) scheduler.Snapshot {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	var s scheduler.Snapshot
	for i := range nodes {
		n := scheduler.Node{ID: fmt.Sprintf("node-%05d", i), Pool: "default", Slots: slotsEach}
		for slot := range slotsEach / 2 {
			n.Free = append(n.Free, fmt.Sprintf("cuda%d", slot))
		}
		s.Nodes = append(s.Nodes, n)
	}
	for i := range nodes * gangsEach {
		id := fmt.Sprintf("trial-%06d", i)
		s.Pending = append(s.Pending, scheduler.Request{
			ID: id, Name: id, Pool: "default", Slots: 1 << int(min(6, random.ExpFloat64()*2)), Priority: random.IntN(3),
			CreatedAt: time.Unix(int64(random.IntN(1e6)), 0),
		})
	}
	return s
}
