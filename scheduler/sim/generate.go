package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Shape is what a generated trace looks like.
type Shape struct {
	Nodes, Slots, Jobs int
	// Load is the work of all jobs over what the cluster could do while they arrive; 1 is all of it.
	Load float64
	// Elastic is the part of the jobs of more than one slot that can do with a quarter of them.
	Elastic float64
	// Failures is how often a node fails, on average, in a day. It is away for an hour.
	Failures float64
	// Urgent is the part of the jobs that have priority 1.
	Urgent float64
}

// sizes are how many slots jobs want, and of a thousand how many do.
var sizes = []struct{ slots, of int }{{1, 680}, {2, 90}, {4, 90}, {8, 100}, {16, 25}, {32, 12}, {64, 3}}

const (
	// The time that jobs take is log-normal: half end within medianWork, and few take a hundred times as long.
	medianWork = 12 * time.Minute
	spread     = 1.7
	shortest   = 10 * time.Second
	longest    = 7 * 24 * time.Hour
)

// Generate makes a trace as those of clusters for training are: most jobs have one slot and end within minutes, few have many slots or take
// days, and these few are most of the work. uniform gives numbers from 0 to below 1; with the same ones the trace is the same.
func Generate(of Shape, uniform func() float64) Trace {
	var t Trace
	for i := range of.Nodes {
		t.Nodes = append(t.Nodes, Node{Name: fmt.Sprintf("n%d", i+1), Pool: DefaultPool, Slots: of.Slots})
	}
	total := 0.0
	for range of.Jobs {
		j := Job{Pool: DefaultPool, Slots: min(sizeOf(uniform()), of.Nodes*of.Slots), Work: workOf(uniform(), uniform())}
		j.Min = j.Slots
		if uniform() < of.Elastic {
			j.Min = max(1, j.Slots/4)
		}
		if uniform() < of.Urgent {
			j.Priority = 1
		}
		total += float64(over(j.Slots, j.Work))
		t.Jobs = append(t.Jobs, j)
	}
	span := total / float64(of.Nodes*of.Slots) / of.Load
	for i := range t.Jobs {
		t.Jobs[i].At = time.Duration(uniform() * span).Truncate(time.Second)
	}
	slices.SortFunc(t.Jobs, func(a, b Job) int { return cmp.Compare(a.At, b.At) })
	for i := range t.Jobs {
		t.Jobs[i].Name = fmt.Sprintf("j%d", i+1)
	}
	for _, n := range t.Nodes {
		for at := next(of.Failures, uniform()); at < span; at += next(of.Failures, uniform()) {
			t.Failures = append(t.Failures, Failure{Node: n.Name, At: time.Duration(at).Truncate(time.Second), For: time.Hour})
		}
	}
	return t
}

func sizeOf(u float64) int {
	rest := int(u * 1000)
	for _, s := range sizes {
		if rest -= s.of; rest < 0 {
			return s.slots
		}
	}
	return 1
}

// workOf makes a time of two uniform numbers (Box and Muller 1958).
func workOf(u, v float64) time.Duration {
	normal := math.Sqrt(-2*math.Log(1-u)) * math.Cos(2*math.Pi*v)
	d := time.Duration(float64(medianWork) * math.Exp(spread*normal))
	return min(max(d, shortest), longest).Truncate(time.Second)
}

// next is the time until the next of events that come so often a day, in nanoseconds.
func next(perDay, u float64) float64 {
	if perDay <= 0 {
		return math.Inf(1)
	}
	return -math.Log(1-u) / perDay * float64(24*time.Hour)
}
