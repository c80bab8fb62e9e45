package sim

import (
	"cmp"
	"slices"
	"time"

	"tandem.dev/scheduler"
)

// Policy is who decides which job gets which slots.
type Policy string

// The policies. All but Tandem are references, and take every job as rigid.
const (
	// Tandem is scheduler.Schedule.
	Tandem Policy = "tandem"
	// FIFO begins the jobs of a pool one after the other, by priority, then by age; nothing passes the first that does not fit.
	FIFO Policy = "fifo"
	// Slurm is conservative backfill with the limits that users give; see slurm.go.
	Slurm Policy = "slurm"
)

// Policies are all there are.
func Policies() []Policy { return []Policy{Tandem, FIFO, Slurm} }

// plan is what the policy says now.
func (s *simulation) plan() scheduler.Plan {
	switch s.cfg.Policy {
	case FIFO:
		return s.inTurn()
	case Slurm:
		return s.backfill()
	case Tandem:
	}
	return scheduler.Schedule(s.snapshot())
}

// inTurn is FIFO's decision.
func (s *simulation) inTurn() scheduler.Plan {
	var plan scheduler.Plan
	for _, p := range s.partitions() {
		for _, j := range p.queue {
			if j.Job.Slots > p.slots {
				continue
			}
			if j.Job.Slots > p.free {
				break
			}
			plan.Grants = append(plan.Grants, p.grant(j))
		}
	}
	return plan
}

// partition is a pool as the reference policies see it: slots are all alike, wherever they are.
type partition struct {
	slots, free int // of the nodes that are not lost
	nodes       []Node
	at          map[string][]string // node -> free slots that were not granted yet
	queue       []*job              // those that wait, in order
	running     []*job
}

// partitions are the pools, in the order in which the trace names them.
func (s *simulation) partitions() []*partition {
	var all []*partition
	byName := map[string]*partition{}
	for _, n := range s.trace.Nodes {
		p := byName[n.Pool]
		if p == nil {
			p = &partition{at: map[string][]string{}}
			all, byName[n.Pool] = append(all, p), p
		}
		if s.down[n.Name] > s.now {
			continue
		}
		p.nodes, p.at[n.Name] = append(p.nodes, n), s.free[n.Name]
		p.slots += n.Slots
		p.free += len(s.free[n.Name])
	}
	for _, j := range s.active {
		switch p := byName[j.Pool]; {
		case p == nil:
		case j.state == waiting:
			p.queue = append(p.queue, j)
		case j.state == running:
			p.running = append(p.running, j)
		}
	}
	for _, p := range all {
		slices.SortFunc(p.queue, func(a, b *job) int {
			return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.At, b.At), cmp.Compare(a.Name, b.Name))
		})
	}
	return all
}

// grant gives a job its slots, which are free: on the node where the fewest would be left, else on as few nodes as can be.
func (p *partition) grant(j *job) scheduler.Grant {
	g := scheduler.Grant{ID: j.Name}
	slices.SortStableFunc(p.nodes, func(a, b Node) int { return cmp.Compare(len(p.at[a.Name]), len(p.at[b.Name])) })
	missing := j.Job.Slots
	take := func(node string) {
		n := min(missing, len(p.at[node]))
		for _, slot := range p.at[node][:n] {
			g.Placements = append(g.Placements, scheduler.Placement{Node: node, Slot: slot})
		}
		p.at[node] = p.at[node][n:]
		missing -= n
	}
	for _, n := range slices.Backward(p.nodes) {
		if len(p.at[n.Name]) < missing {
			take(n.Name)
		}
	}
	for _, n := range p.nodes {
		if missing > 0 && len(p.at[n.Name]) >= missing {
			take(n.Name)
		}
	}
	p.free -= j.Job.Slots
	return g
}

// limit is how long a user says that a job takes at most.
func (c Config) limit(j Job) time.Duration {
	d := j.Limit
	if d == 0 {
		d = j.Work
	}
	return time.Duration(min(float64(d)*c.Overstate, float64(horizon)))
}
