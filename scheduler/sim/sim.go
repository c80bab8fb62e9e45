package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"tandem.dev/scheduler"
)

// Config is what is assumed.
type Config struct {
	// Policy decides.
	Policy Policy
	// Overstate is what users multiply the time with that they say their jobs take: 1 where they know it. Only Slurm asks them.
	Overstate float64
	// Start is how long a job takes to begin once it has its slots.
	Start time.Duration
	// Checkpoint is the time between two checkpoints of a job.
	Checkpoint time.Duration
	// Guaranteed is how long a job has its slots before it is parked for one of a higher priority.
	Guaranteed time.Duration
	// NoBackfill: no slot is lent to a job that is not the first in line.
	NoBackfill bool
	// NoPreemption: no job is parked for one of a higher priority.
	NoPreemption bool
	// Rigid jobs want all their slots, keep them, and go back to their last checkpoint when they lose one, as in systems that cannot
	// change the size of a job.
	Rigid bool
}

// DefaultConfig is what is assumed when nothing is said.
func DefaultConfig() Config {
	return Config{Policy: Tandem, Overstate: 1, Start: 10 * time.Second, Checkpoint: 10 * time.Minute, Guaranteed: 10 * time.Minute}
}

// Validate says what is wrong with it.
func (c Config) Validate() error {
	switch {
	case !slices.Contains(Policies(), c.Policy):
		return fmt.Errorf("unknown policy %q: use one of %v", c.Policy, Policies())
	case c.Start < 0 || c.Guaranteed < 0 || c.Start > maxTime || c.Guaranteed > maxTime:
		return fmt.Errorf("the time of a start and the guaranteed time must be from 0 to %s", maxTime)
	case c.Checkpoint <= 0 || c.Checkpoint > maxTime:
		return fmt.Errorf("the time between checkpoints must be from 1ns to %s", maxTime)
	case !(c.Overstate >= 1 && c.Overstate <= maxOverstate):
		return fmt.Errorf("users overstate by a factor of 1 to %d", maxOverstate)
	}
	return nil
}

// maxOverstate is the largest factor that users overstate by.
const maxOverstate = 1000

// epoch is the beginning of virtual time, as the scheduler sees it.
var epoch = time.Unix(0, 0).UTC()

// horizon is when a run ends at the latest: what has not ended by then never does.
const horizon = 100_000 * time.Hour

// simulation is a run in the making.
type simulation struct {
	cfg      Config
	trace    Trace
	jobs     []*job // by arrival
	arrived  int    // of these, that have arrived
	active   []*job // that have arrived and not ended, by arrival
	byID     map[string]*job
	failures []Failure                // by time
	failed   int                      // of these, that have happened
	returns  []time.Duration          // of nodes, in order
	returned int                      // of these, that have happened
	down     map[string]time.Duration // node -> until when it is lost
	now      time.Duration
	free     map[string][]string // node -> slots
	graph    []Point
}

// Run runs a trace until nothing happens any more. The configuration has to be valid.
func Run(t Trace, cfg Config) Result { return Watch(t, cfg, nil) }

// Watch is Run, and shows each job that arrives with the cluster as the scheduler sees it before it decides on that job. How long running
// work still takes is predicted there to within a tenth.
func Watch(t Trace, cfg Config, arrived func(j Job, s scheduler.Snapshot)) Result {
	s := &simulation{cfg: cfg, trace: t, now: -1, byID: map[string]*job{}, down: map[string]time.Duration{}, free: map[string][]string{}}
	s.cfg.Rigid = cfg.Rigid || cfg.Policy != Tandem
	for _, n := range t.Nodes {
		for i := range n.Slots {
			s.free[n.Name] = append(s.free[n.Name], strconv.Itoa(i))
		}
	}
	for _, of := range t.Jobs {
		j := &job{Job: of, least: of.Min, total: over(of.Slots, of.Work), limit: cfg.limit(of)}
		if s.cfg.Rigid {
			j.least = of.Slots
		}
		s.jobs, s.byID[of.Name] = append(s.jobs, j), j
	}
	slices.SortStableFunc(s.jobs, func(a, b *job) int { return cmp.Compare(a.At, b.At) })
	for _, f := range t.Failures {
		s.returns = append(s.returns, f.At+f.For)
	}
	slices.Sort(s.returns)
	s.failures = slices.SortedStableFunc(slices.Values(t.Failures), func(a, b Failure) int { return cmp.Compare(a.At, b.At) })
	for next, some := s.next(); some && next <= horizon; next, some = s.next() {
		before := s.arrived
		s.until(next)
		for _, j := range s.jobs[before:s.arrived] {
			if arrived != nil {
				arrived(j.Job, s.snapshot())
			}
		}
		for s.decide() {
		}
		s.draw()
	}
	return s.result()
}

// next is when something happens next; false: nothing does.
func (s *simulation) next() (next time.Duration, some bool) {
	consider := func(t time.Duration) {
		if t > s.now && (!some || t < next) {
			next, some = t, true
		}
	}
	if s.arrived < len(s.jobs) {
		consider(s.jobs[s.arrived].At)
	}
	for _, j := range s.active {
		if j.state == running {
			consider(j.ends())
			consider(j.began + s.cfg.Guaranteed)
			if s.cfg.Policy == Slurm {
				consider(j.killed(s.cfg))
			}
		}
	}
	if s.failed < len(s.failures) {
		consider(s.failures[s.failed].At)
	}
	if s.returned < len(s.returns) {
		consider(s.returns[s.returned])
	}
	return next, some
}

// until lets time pass, and does what happens then: jobs end, nodes fail or come back, jobs arrive.
func (s *simulation) until(t time.Duration) {
	s.now = t
	for _, j := range s.active {
		if j.state != running {
			continue
		}
		j.advance(t, s.cfg.Checkpoint)
		if done := j.done == j.total; done || s.cfg.Policy == Slurm && j.killed(s.cfg) <= t {
			s.release(j.slots)
			j.end(t, done)
		}
	}
	for ; s.failed < len(s.failures) && s.failures[s.failed].At <= t; s.failed++ {
		s.fail(s.failures[s.failed])
	}
	for s.returned < len(s.returns) && s.returns[s.returned] <= t {
		s.returned++
	}
	s.active = slices.DeleteFunc(s.active, func(j *job) bool { return j.state == finished })
	for ; s.arrived < len(s.jobs) && s.jobs[s.arrived].At <= t; s.arrived++ {
		j := s.jobs[s.arrived]
		j.state = waiting
		s.active = append(s.active, j)
	}
}

func (s *simulation) fail(f Failure) {
	s.down[f.Node] = max(s.down[f.Node], f.At+f.For)
	for _, j := range s.active {
		if j.state == running {
			held := j.slots
			j.lose(f.Node, s.cfg.Rigid)
			s.release(slices.DeleteFunc(slices.Clone(held), func(at scheduler.Placement) bool { return slices.Contains(j.slots, at) }))
		}
	}
}

func (s *simulation) release(slots []scheduler.Placement) {
	for _, at := range slots {
		s.free[at.Node] = append(s.free[at.Node], at.Slot)
	}
}

// decide asks the policy once and does what it says; false: nothing.
func (s *simulation) decide() bool {
	plan := s.plan()
	for _, g := range plan.Grants {
		for _, at := range g.Placements {
			s.free[at.Node] = slices.DeleteFunc(s.free[at.Node], func(slot string) bool { return slot == at.Slot })
		}
		if j := s.byID[g.ID]; j.state == waiting {
			j.begin(g.Placements, s.now, s.now+s.cfg.Start, s.cfg.Checkpoint)
			j.onLoan = g.OnLoan
		} else {
			j.resize(slices.Concat(j.slots, g.Placements))
		}
	}
	for _, g := range plan.Gives {
		j := s.byID[g.ID]
		keep := len(j.slots) - g.Slots
		s.release(j.slots[keep:])
		j.resize(j.slots[:keep:keep])
	}
	for _, k := range plan.Parks {
		j := s.byID[k.ID]
		s.release(j.slots)
		j.stop(true)
		j.parks++
	}
	return len(plan.Grants)+len(plan.Gives)+len(plan.Parks) > 0
}

// snapshot is the cluster as the scheduler sees it now.
func (s *simulation) snapshot() scheduler.Snapshot {
	var snap scheduler.Snapshot
	for _, n := range s.trace.Nodes {
		sn := scheduler.Node{ID: n.Name, Pool: n.Pool, Slots: n.Slots, Free: s.free[n.Name]}
		if s.down[n.Name] > s.now {
			sn.Unavailable = "lost"
		}
		snap.Nodes = append(snap.Nodes, sn)
	}
	for _, j := range s.active {
		r := scheduler.Request{
			ID: j.Name, Name: j.Name, Pool: j.Pool, Slots: j.Job.Slots, Min: j.least, Priority: j.Priority, CreatedAt: epoch.Add(j.At),
			Parks: !s.cfg.NoBackfill,
		}
		if j.state == running {
			snap.Running = append(snap.Running, scheduler.Claim{
				ID: r.ID, Pool: r.Pool, Priority: r.Priority, CreatedAt: r.CreatedAt,
				At: j.slots, Slots: len(j.slots), Gives: len(j.slots) - j.least,
				Parks: j.onLoan || !s.cfg.NoPreemption, OnLoan: j.onLoan, Protected: s.now < j.began+s.cfg.Guaranteed,
				Unsaved: j.unsaved(), Ends: around(j.ends() - s.now),
			})
			r.Slots, r.Min, r.Spare = r.Slots-len(j.slots), 1, true
		}
		if j.state == waiting || j.state == running && r.Slots > 0 {
			snap.Pending = append(snap.Pending, r)
		}
	}
	return snap
}

// around is what is predicted of a time: it lies within a tenth of it.
func around(d time.Duration) scheduler.Span { return scheduler.Span{Low: d - d/10, High: d + d/10} }
