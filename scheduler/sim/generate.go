package sim

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Kind is what jobs are like.
type Kind string

// The kinds of jobs.
const (
	// HeavyTailed: most jobs have one slot and end within minutes, few have many slots or take days, and these few are most of the work.
	// They arrive at any time.
	HeavyTailed Kind = "heavy-tailed"
	// Philly is in the shape of the trace of Microsoft's cluster of that name (Jeon et al., "Analysis of Large-Scale Multi-Tenant GPU
	// Clusters for DNN Training Workloads", ATC 2019). Taken from it, and from its comparison with others (Hu et al., "Characterization
	// and Prediction of Deep Learning Workloads in Large-Scale GPU Datacenters", SC 2021): a job wants 1.75 GPUs on average and takes
	// 28,329 s on average, one in 200 takes more than a week, and 30.7 % fail or are killed. Of our own making: what part wants each
	// size, so that it is 1.75; a log-normal time, whose median of 15 minutes and whose tail follow from the two figures; that a job
	// that fails does so at any time with equal chance, while its user had asked for all of it; that twice as many arrive in the
	// afternoon as on average and none in the dead of night; and that nothing takes more than a week, or a few jobs would decide a trace
	// of some days.
	Philly Kind = "philly"
)

// Kinds are all there are.
func Kinds() []Kind { return []Kind{HeavyTailed, Philly} }

// size is how many slots jobs want, and of a thousand how many do.
type size struct{ slots, of int }

// form is what makes a kind.
type form struct {
	sizes  []size
	median time.Duration // half of the jobs end within it, and its logarithm has this spread
	spread float64
	fail   float64 // part of the jobs
	daily  float64 // how much more arrive in the afternoon than on average, as a part of that
}

func (k Kind) form() form {
	if k == Philly {
		return form{
			sizes:  []size{{1, 840}, {2, 60}, {4, 50}, {8, 38}, {16, 9}, {32, 2}, {64, 1}},
			median: 15 * time.Minute, spread: 2.63, fail: 0.307, daily: 1,
		}
	}
	return form{
		sizes:  []size{{1, 680}, {2, 90}, {4, 90}, {8, 100}, {16, 25}, {32, 12}, {64, 3}},
		median: 12 * time.Minute, spread: 1.7,
	}
}

// Shape is what a generated trace looks like.
type Shape struct {
	Kind               Kind
	Nodes, Slots, Jobs int
	// Load is the work of all jobs over what the cluster could do while they arrive; 1 is all of it.
	Load float64
	// Elastic is the part of the jobs of more than one slot that can do with a quarter of them.
	Elastic float64
	// Failures is how often a node fails, on average, in a day. It is away for an hour.
	Failures float64
	// Urgent is the part of the jobs that have priority 1.
	Urgent float64
	// Users there are, in projects of four; 0: nobody is named. The first has twice as many jobs as the second, and so on (Zipf).
	Users int
}

// Validate says what is wrong with it.
func (s Shape) Validate() error {
	part := func(x float64) bool { return x >= 0 && x <= 1 }
	switch {
	case !slices.Contains(Kinds(), s.Kind):
		return fmt.Errorf("unknown shape %q: use one of %v", s.Kind, Kinds())
	case s.Nodes < 1 || s.Slots < 1 || s.Slots > maxSlots || s.Nodes > maxAllSlots/s.Slots:
		return fmt.Errorf("there must be at least one node and one slot, and at most %d slots in all", maxAllSlots)
	case s.Jobs < 1 || s.Jobs > maxJobs:
		return fmt.Errorf("there must be 1 to %d jobs", maxJobs)
	case !(s.Load >= minLoad && s.Load <= maxLoad):
		return fmt.Errorf("the load must be from %g to %d", minLoad, maxLoad)
	case !part(s.Elastic) || !part(s.Urgent):
		return errors.New("a part of the jobs is a number from 0 to 1")
	case !(s.Failures >= 0 && s.Failures <= maxPerDay):
		return fmt.Errorf("a node fails 0 to %d times a day", maxPerDay)
	case s.Users < 0 || s.Users > maxJobs:
		return fmt.Errorf("there must be 0 to %d users", maxJobs)
	}
	return nil
}

const (
	shortest = 10 * time.Second
	longest  = 7 * 24 * time.Hour
	day      = 24 * time.Hour
	away     = time.Hour // of a node that fails

	minLoad   = 0.01
	maxLoad   = 100
	maxPerDay = 24
)

// Generate makes a trace of a valid shape. uniform gives numbers from 0 to below 1; with the same ones the trace is the same. The trace
// begins at nine in the morning.
func Generate(of Shape, uniform func() float64) Trace {
	var t Trace
	f := of.Kind.form()
	for i := range of.Nodes {
		t.Nodes = append(t.Nodes, Node{Name: fmt.Sprintf("n%d", i+1), Pool: DefaultPool, Slots: of.Slots})
	}
	total := 0.0
	for range of.Jobs {
		j := Job{Pool: DefaultPool, Slots: min(f.size(uniform()), of.Nodes*of.Slots), Work: f.work(uniform(), uniform())}
		j.Min = j.Slots
		if uniform() < of.Elastic {
			j.Min = max(1, j.Slots/4)
		}
		if uniform() < of.Urgent {
			j.Priority = 1
		}
		if f.fail > 0 && uniform() < f.fail {
			j.Limit, j.Work = j.Work, max(shortest, time.Duration(float64(j.Work)*uniform()).Truncate(time.Second))
		}
		total += float64(over(j.Slots, j.Work))
		t.Jobs = append(t.Jobs, j)
	}
	span := min(total/float64(of.Nodes*of.Slots)/of.Load, float64(maxTime))
	for i := range t.Jobs {
		t.Jobs[i].At = f.arrival(span, uniform).Truncate(time.Second)
	}
	slices.SortFunc(t.Jobs, func(a, b Job) int { return cmp.Compare(a.At, b.At) })
	for i := range t.Jobs {
		t.Jobs[i].Name = fmt.Sprintf("j%d", i+1)
	}
	for _, n := range t.Nodes {
		for at := next(of.Failures, uniform()); at < span && len(t.Failures) < maxFailures; at += next(of.Failures, uniform()) {
			t.Failures = append(t.Failures, Failure{Node: n.Name, At: time.Duration(at).Truncate(time.Second), For: away})
		}
	}
	name(t.Jobs, of.Users, uniform)
	return t
}

// name gives the jobs their users.
func name(jobs []Job, users int, uniform func() float64) {
	if users == 0 {
		return
	}
	upTo := make([]float64, users) // the weight of all users up to one
	for k := range upTo {
		upTo[k] = upTo[max(0, k-1)] + 1/float64(k+1)
	}
	for i := range jobs {
		k, _ := slices.BinarySearch(upTo, uniform()*upTo[users-1])
		jobs[i].User, jobs[i].Project = fmt.Sprintf("u%d", k+1), fmt.Sprintf("p%d", k/4+1)
	}
}

func (f form) size(u float64) int {
	rest := int(u * 1000)
	for _, s := range f.sizes {
		if rest -= s.of; rest < 0 {
			return s.slots
		}
	}
	return 1
}

// work makes a time of two uniform numbers (Box and Muller 1958).
func (f form) work(u, v float64) time.Duration {
	normal := math.Sqrt(-2*math.Log(1-u)) * math.Cos(2*math.Pi*v)
	d := float64(f.median) * math.Exp(f.spread*normal)
	return time.Duration(min(max(d, float64(shortest)), float64(longest))).Truncate(time.Second)
}

// arrival is a time within span; those of the night are mostly drawn again.
func (f form) arrival(span float64, uniform func() float64) time.Duration {
	at := uniform() * span
	for range 100 {
		if f.daily == 0 || uniform()*(1+f.daily) < 1+f.daily*math.Sin(2*math.Pi*at/float64(day)) {
			break
		}
		at = uniform() * span
	}
	return time.Duration(at)
}

// next is the time until the next of events that come so often a day, in nanoseconds.
func next(perDay, u float64) float64 {
	if perDay <= 0 {
		return math.Inf(1)
	}
	return -math.Log(1-u) / perDay * float64(day)
}
