package analysis

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"time"

	"tandem.dev/storage/metric"
)

// Series is one figure over the steps, which rise.
type Series struct {
	Name   string
	Points []Point
}

// Point of a series.
type Point struct {
	Step  int64
	Value float64
	Time  int64 // nanoseconds since 1970
}

// Evaluation is the result of a pass over the validation split, as the trial's record has it.
type Evaluation struct {
	Step    int64
	Time    int64 // nanoseconds since 1970
	Metrics map[string]float64
}

// parts are what steps are made of.
var parts = []metric.Category{metric.Data, metric.Forward, metric.Backward, metric.Communication, metric.Optimizer, metric.Checkpoint, metric.Other}

// ComputeSeries makes the series of a trial, by name, from the segments of its ranks 0. Where the trial went back to an earlier
// step, what was measured beyond that is forgotten. Evaluations that the trial's record has and the segments lost are filled in.
func ComputeSeries(segments []metric.Segment, recorded []Evaluation) []Series {
	c := curves{}
	for _, e := range inOrder(segments) {
		if e.evaluation != nil {
			c.evaluate(e.evaluation.Step, e.evaluation.Time, e.evaluation.Metrics)
		} else if e.beat.Step > e.beat.First {
			c.back(e.beat.First)
			c.beat(*e.beat, e.world)
		}
	}
	steps := c["step_seconds"]
	for _, e := range recorded {
		if len(steps) == 0 || e.Step <= steps[len(steps)-1].Step {
			c.fill(e)
		}
	}
	all := make([]Series, 0, len(c))
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if len(c[name]) > 0 {
			all = append(all, Series{name, c[name]})
		}
	}
	return all
}

// event is a beat or an evaluation.
type event struct {
	generation int64
	time       int64
	world      int
	beat       *metric.Beat
	evaluation *metric.Evaluation
}

// inOrder returns what ranks 0 told, by generation and time.
func inOrder(segments []metric.Segment) []event {
	var all []event
	for _, s := range segments {
		if s.Rank != 0 {
			continue
		}
		for i := range s.Beats {
			all = append(all, event{generation: s.Generation, time: s.Beats[i].To(), world: s.World, beat: &s.Beats[i]})
		}
		for i := range s.Evaluations {
			all = append(all, event{generation: s.Generation, time: s.Evaluations[i].Time, evaluation: &s.Evaluations[i]})
		}
	}
	slices.SortStableFunc(all, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.generation, b.generation), cmp.Compare(a.time, b.time))
	})
	return all
}

// curves are points by the name of their series.
type curves map[string][]Point

func (c curves) add(name string, p Point) {
	if n := len(c[name]); n > 0 && c[name][n-1].Step == p.Step {
		c[name][n-1] = p
		return
	}
	c[name] = append(c[name], p)
}

// back forgets what was measured after a step.
func (c curves) back(step int64) {
	for name, points := range c {
		n := len(points)
		for n > 0 && points[n-1].Step > step {
			n--
		}
		c[name] = points[:n]
	}
}

func (c curves) beat(b metric.Beat, world int) {
	put := func(name string, v float64) { c.add(name, Point{b.Step, v, b.To()}) }
	took := b.Times.Step()
	put("step_seconds", took.Seconds()/float64(b.Step-b.First))
	put("world_size", float64(world))
	put("lr", b.LR)
	put("epoch", b.Epoch)
	if b.Loss != nil {
		put("loss", *b.Loss)
	}
	if b.Norm != nil {
		put("grad_norm", *b.Norm)
	}
	if took > 0 {
		if b.Rows > 0 {
			put("samples_per_second", b.Rows/took.Seconds())
		}
		for _, part := range parts {
			put(part.String()+"_share", float64(b.Times[part])/float64(took))
		}
	}
}

func (c curves) evaluate(step, time int64, metrics map[string]float64) {
	c.back(step)
	for name, v := range metrics {
		c.add("validation."+name, Point{step, v, time})
	}
}

// fill puts an evaluation in where there is none of its step.
func (c curves) fill(e Evaluation) {
	for name, v := range e.Metrics {
		name = "validation." + name
		points := c[name]
		i := sort.Search(len(points), func(i int) bool { return points[i].Step >= e.Step })
		if i == len(points) || points[i].Step != e.Step {
			c[name] = slices.Insert(points, i, Point{e.Step, v, e.Time})
		}
	}
}

// Thin returns at most limit points after a step: neighbours are averaged, in groups of one size nearly, at the place of the
// last of them.
func Thin(points []Point, since int64, limit int) []Point {
	points = points[sort.Search(len(points), func(i int) bool { return points[i].Step > since }):]
	if len(points) <= limit {
		return points
	}
	out := make([]Point, 0, limit)
	for i := range limit {
		group := points[i*len(points)/limit : (i+1)*len(points)/limit]
		p := group[len(group)-1]
		p.Value = 0
		for _, q := range group {
			p.Value += q.Value / float64(len(group))
		}
		out = append(out, p)
	}
	return out
}

// StepTime is where the time of steps went.
type StepTime struct {
	Steps            int64
	Times            metric.Times
	SamplesPerSecond float64
}

// ComputeStepTime adds up the steps of ranks 0, also those that were done again.
func ComputeStepTime(segments []metric.Segment) StepTime {
	var t StepTime
	var rows float64
	var during time.Duration
	for _, e := range inOrder(segments) {
		if e.beat == nil {
			continue
		}
		t.Steps += e.beat.Step - e.beat.First
		for _, part := range parts {
			t.Times[part] += e.beat.Times[part]
		}
		if e.beat.Rows > 0 {
			rows += e.beat.Rows
			during += e.beat.Times.Step()
		}
	}
	if during > 0 {
		t.SamplesPerSecond = rows / during.Seconds()
	}
	return t
}
