package spec

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

// MostTrials and MostConcurrent bound a sweep: its rows are held in memory, and its first trials go through Raft as one entry.
const (
	MostTrials     = 100_000
	MostConcurrent = 1000
)

// MethodOf is a method as scheduler/search takes it.
func MethodOf(m *tandemv1.MethodSpec) search.Method {
	return search.Method{
		Name: m.GetName(), Sampler: m.GetSampler(), Stop: m.GetStop(), Divisor: int(m.GetDivisor()), Rungs: int(m.GetRungs()), Variant: m.GetVariant(),
		Grace: m.GetGrace(), StartupTrials: int(m.GetStartupTrials()),
		Population: int(m.GetPopulation()), Intervals: int(m.GetIntervals()), Quantile: m.GetQuantile(),
	}
}

// Config is the search of a sweep as scheduler/search takes it; prior is what is known from earlier ones.
func Config(spec *tandemv1.JobSpec, prior []*tandemv1.PriorTrial) search.Config {
	s := spec.GetSearch()
	c := search.Config{
		Space:  search.Space{},
		Method: MethodOf(s.GetMethod()),
		Mode:   search.Mode(spec.GetMode()), Seed: s.GetSeed(),
		MaxTrials: int(s.GetMaxTrials()), MaxConcurrent: int(s.GetMaxConcurrentTrials()), MaxFailed: int(s.GetMaxFailedTrials()),
	}
	for name, d := range s.GetSpace() {
		c.Space[name] = domain(d)
	}
	for _, p := range prior {
		c.Prior = append(c.Prior, search.Prior{Point: p.GetParameters().AsMap(), Value: p.GetValue(), Share: p.GetShare()})
	}
	return c
}

// Fitting are the trials of earlier sweeps that the search of a sweep with a complete spec can begin with, and why not of the first of
// the others.
func Fitting(spec *tandemv1.JobSpec, prior []*tandemv1.PriorTrial) (fitting []*tandemv1.PriorTrial, why error) {
	fit, why := Config(spec, prior).Fits()
	for _, i := range fit {
		fitting = append(fitting, prior[i])
	}
	return fitting, why
}

func domain(d *tandemv1.Domain) search.Domain {
	to := search.Domain{Int: d.GetInt(), Double: d.GetDouble(), Log: d.GetLog(), Count: int(d.GetCount()), Step: d.GetStep()}
	if d.GetChoice() != nil {
		to.Choice = d.GetChoice().AsSlice()
	}
	if d.GetConst() != nil {
		to.Const = d.GetConst().AsInterface()
	}
	for on, values := range d.GetWhen() {
		if to.When == nil {
			to.When = map[string][]any{}
		}
		to.When[on] = values.AsSlice()
	}
	return to
}

// completeSearch fills in the defaults of the search section of a spec, which is the caller's to change, and returns all that is wrong
// with it and with the places it names.
func completeSearch(spec *tandemv1.JobSpec) []Problem {
	s := spec.GetSearch()
	c := Config(spec, nil)
	if c.Mode == "" {
		c.Mode = search.Min // it is filled in, and checked, with the rest of the spec
	}
	c = c.Complete()
	m := c.Method
	s.Method = &tandemv1.MethodSpec{
		Name: m.Name, Sampler: m.Sampler, Stop: m.Stop, Divisor: whole(m.Divisor), Rungs: whole(m.Rungs), Variant: m.Variant,
		Grace: m.Grace, StartupTrials: whole(m.StartupTrials),
		Population: whole(m.Population), Intervals: whole(m.Intervals), Quantile: m.Quantile,
	}
	var wrong []Problem
	add := func(path, format string, args ...any) {
		wrong = append(wrong, Problem{"search." + path, fmt.Sprintf(format, args...)})
	}
	if c.MaxTrials == 0 && m.Name != search.Grid {
		add("max_trials", "is missing: say how many trials to make at most")
	} else {
		for _, p := range c.Validate() {
			add(p.Path, "%s", p.Message)
		}
	}
	if c.MaxTrials > MostTrials {
		add("max_trials", "must be at most %d, and is %d", MostTrials, c.MaxTrials)
	}
	if c.MaxConcurrent > MostConcurrent {
		add("max_concurrent_trials", "must be at most %d", MostConcurrent)
	}
	if m.Name == search.PBT {
		for _, name := range sorted(c.Space) {
			if c.Space[name].Const == nil && !inheritable(name) {
				add("space."+name, "cannot be searched by pbt, whose trials go on from each other's checkpoints: those fit one model, one batch and one optimizer")
			}
		}
	}
	s.MaxTrials, s.MaxConcurrentTrials, s.MaxFailedTrials = whole(c.MaxTrials), whole(c.MaxConcurrent), whole(c.MaxFailed)
	return append(wrong, checkPlaces(spec, c.Space)...)
}

// inheritable says whether a training can go on from a checkpoint of one with another value of a hyper-parameter.
func inheritable(name string) bool {
	switch {
	case strings.HasPrefix(name, "model."):
		return strings.HasSuffix(name, ".dropout")
	case name == "training.batch", name == "training.epochs", name == "training.steps", name == "training.loss", name == "training.optimizer.name":
		return false
	}
	return true
}

// whole is a count as the schema has it.
func whole(n int) int32 { return int32(max(math.MinInt32, min(n, math.MaxInt32))) } //nolint:gosec // bounded here

// Describe says for people what a complete search section amounts to.
func Describe(spec *tandemv1.JobSpec) []string {
	c := Config(spec, nil)
	n := len(c.Space)
	size := "its points are without number"
	switch points := c.Space.Size(); {
	case points == math.MaxInt:
		size = "it has more points than can be counted"
	case points > 0:
		size = fmt.Sprintf("it has %d different points", points)
	}
	space := fmt.Sprintf("The space has %d hyper-parameters; %s.", n, size)
	if n == 1 {
		space = fmt.Sprintf("The space has 1 hyper-parameter; %s.", size)
	}
	trials := fmt.Sprintf("At most %d trials are made by %s, %d at a time.", c.MaxTrials, method(c.Method), c.MaxConcurrent)
	return []string{space, trials}
}

// method names a method with what it is made of.
func method(m search.Method) string {
	var of []string
	if m.Sampler != "" {
		of = append(of, "points from "+m.Sampler)
	}
	if m.Stop != "" && m.Stop != search.StopNone {
		of = append(of, "stopped by "+m.Stop)
	}
	if m.Rungs > 0 {
		of = append(of, fmt.Sprintf("%d rungs, 1 of %d goes on", m.Rungs, m.Divisor))
	}
	if len(of) == 0 {
		return m.Name
	}
	return m.Name + " (" + strings.Join(of, "; ") + ")"
}

// Event is an event of a sweep as scheduler/search takes it.
func Event(e *tandemv1.SweepEvent) search.Event {
	switch what := e.GetEvent().(type) {
	case *tandemv1.SweepEvent_Measured:
		m := what.Measured
		return search.Event{Measured: &search.Measured{Trial: int(m.GetTrial()), Share: m.GetShare(), Value: m.GetValue()}}
	case *tandemv1.SweepEvent_Ended:
		return search.Event{Ended: &search.Ended{Trial: int(what.Ended.GetTrial()), Outcome: outcome(what.Ended.GetOutcome())}}
	case *tandemv1.SweepEvent_Extended:
		return search.Event{Extended: &search.Extended{MaxTrials: int(what.Extended.GetMaxTrials())}}
	case *tandemv1.SweepEvent_Exhausted:
		return search.Event{Exhausted: &search.Exhausted{Reason: cmp.Or(say.Clause(what.Exhausted.GetWhy(), say.Plain), what.Exhausted.GetReason())}}
	}
	return search.Event{Begun: true}
}

func outcome(o tandemv1.TrialOutcome) search.Outcome {
	switch o {
	case tandemv1.TrialOutcome_TRIAL_OUTCOME_REACHED:
		return search.Reached
	case tandemv1.TrialOutcome_TRIAL_OUTCOME_COMPLETED:
		return search.Completed
	case tandemv1.TrialOutcome_TRIAL_OUTCOME_DIVERGED:
		return search.Diverged
	case tandemv1.TrialOutcome_TRIAL_OUTCOME_STOPPED:
		return search.Stopped
	}
	return search.Failed
}

// Decision is a decision of scheduler/search as a row of a command; ids and specs of new trials are still missing.
func Decision(d search.Decision) (*tandemv1.SweepDecision, error) {
	to := &tandemv1.SweepDecision{Reason: d.Reason}
	switch {
	case d.Create != nil:
		parameters, err := structpb.NewStruct(d.Create.Point)
		if err != nil {
			return nil, fmt.Errorf("trial %d: %w", d.Create.Trial, err)
		}
		to.Decision = &tandemv1.SweepDecision_Create{Create: &tandemv1.CreateTrial{
			Trial: whole(d.Create.Trial), Parameters: parameters, Until: d.Create.Until, From: whole(d.Create.From),
		}}
	case d.Continue != nil:
		to.Decision = &tandemv1.SweepDecision_Continue{Continue: &tandemv1.ContinueTrial{Trial: whole(d.Continue.Trial), Until: d.Continue.Until}}
	case d.Stop != nil:
		to.Decision = &tandemv1.SweepDecision_Stop{Stop: &tandemv1.StopTrial{Trial: whole(d.Stop.Trial)}}
	default:
		to.Decision = &tandemv1.SweepDecision_Finish{Finish: &tandemv1.FinishSweep{Failed: d.Failed}}
	}
	return to, nil
}
