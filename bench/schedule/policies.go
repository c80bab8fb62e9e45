package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"tandem.dev/scheduler/sim"
)

// way is one that jobs are scheduled in.
type way struct {
	name   string
	change func(c *sim.Config)
}

// ways are all, in the order of the table.
var ways = []way{
	{"Tandem", func(*sim.Config) {}},
	{"without loans", func(c *sim.Config) { c.NoBackfill = true }},
	{"without preemption", func(c *sim.Config) { c.NoPreemption = true }},
	{"without elasticity", func(c *sim.Config) { c.Rigid = true }},
	{"loans only", func(c *sim.Config) { c.NoPreemption, c.Rigid = true, true }},
	{"preemption only", func(c *sim.Config) { c.NoBackfill, c.Rigid = true, true }},
	{"elasticity only", func(c *sim.Config) { c.NoBackfill, c.NoPreemption = true, true }},
	{"none of the three", func(c *sim.Config) { c.NoBackfill, c.NoPreemption, c.Rigid = true, true, true }},
	{"priority FIFO", func(c *sim.Config) { c.Policy = sim.FIFO }},
	{"Slurm, exact limits", func(c *sim.Config) { c.Policy = sim.Slurm }},
	{"Slurm, limits 3 x", func(c *sim.Config) { c.Policy, c.Overstate = sim.Slurm, 3 }},
}

// shape of the traces of a kind: a small cluster that is nearly full.
func shape(kind sim.Kind, jobs int) sim.Shape {
	return sim.Shape{Kind: kind, Nodes: 16, Slots: 8, Jobs: jobs, Load: 0.95, Elastic: 0.5, Failures: 0.1, Urgent: 0.1, Users: 20}
}

// trace makes the trace of a seed.
func trace(of sim.Shape, seed int) sim.Trace {
	return sim.Generate(of, rand.New(rand.NewPCG(uint64(seed), 0)).Float64) //nolint:gosec // the same each time
}

// policies prints what becomes of the same traces in each way, in the mean over the seeds.
func policies(w io.Writer, o options) {
	for _, kind := range sim.Kinds() {
		of := shape(kind, o.jobs)
		fmt.Fprintf(w, "%s, %d traces of %d jobs on %d nodes of %d slots\n\n", kind, o.seeds, of.Jobs, of.Nodes, of.Slots)
		fmt.Fprintln(w, "| | mean completion | mean wait | p95 wait | urgent: mean wait | lost slot-hours | utilisation | Jain |")
		fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
		for _, way := range ways {
			cfg := sim.DefaultConfig()
			way.change(&cfg)
			var sum mean
			for seed := 1; seed <= o.seeds; seed++ {
				t := trace(of, seed)
				sum.add(t, sim.Run(t, cfg))
			}
			sum.print(w, way.name)
		}
		fmt.Fprintln(w)
	}
}

// mean is that of some runs.
type mean struct {
	runs                             int
	completion, wait, wait95, urgent time.Duration
	lost, utilisation, fairness      float64
}

func (m *mean) add(t sim.Trace, r sim.Result) {
	s := r.Summary
	m.runs++
	m.completion += s.MeanTurnaround
	m.wait += s.MeanWait
	m.wait95 += s.Wait95
	m.lost += s.LostHours
	m.utilisation += s.Utilisation
	m.fairness += s.Fairness
	urgent := map[string]bool{}
	for _, j := range t.Jobs {
		urgent[j.Name] = j.Priority > 0
	}
	var all time.Duration
	n := 0
	for _, j := range r.Jobs {
		if urgent[j.Name] && j.Began {
			all += j.Wait
			n++
		}
	}
	m.urgent += all / time.Duration(max(1, n))
}

func (m *mean) print(w io.Writer, name string) {
	n := float64(m.runs)
	minutes := func(d time.Duration) string { return fmt.Sprintf("%.1f min", d.Minutes()/n) }
	fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %.0f | %.1f %% | %.3f |\n", name, minutes(m.completion), minutes(m.wait), minutes(m.wait95),
		minutes(m.urgent), m.lost/n, 100*m.utilisation/n, m.fairness/n)
}
