package coverage

import (
	"math"
	"slices"
	"time"

	"tandem.dev/scheduler"
	"tandem.dev/scheduler/forecast"
	"tandem.dev/scheduler/sim"
)

const (
	// speedError is by how much a speed is off (standard deviation of its logarithm), speedBand what the coordinator takes it to be within.
	speedError, speedBand = 0.1, 0.2
	// unknown is the part of the jobs of which nobody knows how long they take.
	unknown = 0.1
	// named is the part of the others with past jobs of their name: so many, whose times are spread by pastError.
	named, past, pastError = 0.6, 5, 0.15
	// newest jobs that ended say how long one without a name takes, if there are at least enough.
	newest, enough = 100, 5
)

// Count says how often ranges held what came.
type Count struct {
	// Waited jobs did not begin at once; of these it was Said of some when they would. Those that were Inside began in the range; Early and
	// Late are the others.
	Waited, Said, Inside, Early, Late int
	// Widths are those of the ranges, over the real wait.
	Widths []float64
}

// Part is how many of those of which something was said lay inside.
func (c Count) Part() float64 { return float64(c.Inside) / float64(max(1, c.Said)) }

// Width is the median width of a range over the real wait.
func (c Count) Width() float64 {
	if len(c.Widths) == 0 {
		return 0
	}
	slices.Sort(c.Widths)
	return c.Widths[len(c.Widths)/2]
}

// Add counts more.
func (c *Count) Add(o Count) {
	c.Waited, c.Said, c.Inside, c.Early, c.Late = c.Waited+o.Waited, c.Said+o.Said, c.Inside+o.Inside, c.Early+o.Early, c.Late+o.Late
	c.Widths = append(c.Widths, o.Widths...)
}

// Random makes numbers: even ones from 0 to 1, and normally distributed ones around 0 with a standard deviation of 1.
type Random interface {
	Float64() float64
	NormFloat64() float64
}

// Of runs a trace and counts; with the same numbers the forecast is told the same.
func Of(t sim.Trace, cfg sim.Config, random Random) Count {
	k := know(t.Jobs, random)
	said := map[string]forecast.Outlook{}
	result := sim.Watch(t, cfg, func(j sim.Job, s scheduler.Snapshot) {
		k.pass(j.At)
		said[j.Name] = forecast.Of(k.blur(s), k.lasts(s), j.Name)
	})
	var c Count
	for _, o := range result.Jobs {
		f := said[o.Name]
		if !o.Began || len(f.Now) > 0 {
			continue
		}
		c.Waited++
		if !f.Known {
			continue
		}
		c.Said++
		c.Widths = append(c.Widths, float64(f.Begins.High-f.Begins.Low)/float64(max(time.Second, o.Wait)))
		switch {
		case o.Wait < f.Begins.Low:
			c.Early++
		case o.Wait > f.Begins.High:
			c.Late++
		default:
			c.Inside++
		}
	}
	return c
}

// knowledge is what a coordinator could know of the jobs.
type knowledge struct {
	of  map[string]job
	all []sim.Job
	now time.Duration
}

type job struct {
	speed   float64 // what its speed is taken for, over what it is
	unknown bool
	past    []time.Duration // how long others of its name took
}

func know(jobs []sim.Job, random Random) *knowledge {
	k := &knowledge{of: map[string]job{}, all: jobs}
	for _, j := range jobs {
		o := job{speed: math.Exp(speedError * random.NormFloat64()), unknown: random.Float64() < unknown}
		if random.Float64() < named {
			for range past {
				o.past = append(o.past, time.Duration(float64(j.Work)*math.Exp(pastError*random.NormFloat64())))
			}
		}
		k.of[j.Name] = o
	}
	return k
}

func (k *knowledge) pass(now time.Duration) { k.now = now }

// blur takes from a snapshot what nobody knows.
func (k *knowledge) blur(s scheduler.Snapshot) scheduler.Snapshot {
	for i := range s.Running {
		c := &s.Running[i]
		o := k.of[c.ID]
		if o.unknown {
			c.Ends = scheduler.Span{}
			continue
		}
		left := float64(c.Ends.Low+c.Ends.High) / 2 * o.speed
		c.Ends = scheduler.Span{Low: time.Duration(left * (1 - speedBand)), High: time.Duration(left * (1 + speedBand))}
	}
	return s
}

// lasts is how long those that wait are taken to need.
func (k *knowledge) lasts(s scheduler.Snapshot) map[string]scheduler.Span {
	var ended []time.Duration
	for _, j := range slices.Backward(k.all) {
		if j.At+j.Work < k.now && len(ended) < newest {
			ended = append(ended, j.Work)
		}
	}
	all := map[string]scheduler.Span{}
	for _, r := range s.Pending {
		switch o := k.of[r.ID]; {
		case o.unknown || r.Spare:
		case len(o.past) > 0:
			all[r.ID] = forecast.Middle(o.past)
		case len(ended) >= enough:
			all[r.ID] = forecast.Middle(ended)
		}
	}
	return all
}
