package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

// setting is one of a method: a flag, and a key after the name of a method.
type setting struct {
	name, usage string
	set         func(m *search.Method, text string) error
}

// settings are those that change what a method does with recorded trials; where it takes its points from does not.
func settings() []setting {
	whole := func(to func(*search.Method) *int) func(*search.Method, string) error {
		return func(m *search.Method, text string) (err error) {
			*to(m), err = strconv.Atoi(text)
			return err
		}
	}
	return []setting{
		{"stop", "of random, grid, sobol, tpe, cmaes: none, median, median-value or asha", func(m *search.Method, text string) error { m.Stop = text; return nil }},
		{"divisor", "of asha, hyperband, bohb: of so many trials one goes on at each rung", whole(func(m *search.Method) *int { return &m.Divisor })},
		{"rungs", "of the same: how many there are", whole(func(m *search.Method) *int { return &m.Rungs })},
		{"variant", "of asha: promote or stop", func(m *search.Method, text string) error { m.Variant = text; return nil }},
		{"grace", "of stop=median and median-value: share of the training before which no trial is ended", func(m *search.Method, text string) (err error) {
			m.Grace, err = strconv.ParseFloat(text, 64)
			return err
		}},
		{"startup-trials", "of stop=median and median-value: trials before it has an opinion", whole(func(m *search.Method) *int { return &m.StartupTrials })},
	}
}

// apply one setting by its name.
func apply(m *search.Method, name, text string) error {
	var known []string
	for _, s := range settings() {
		if s.name != name && strings.ReplaceAll(s.name, "-", "_") != name {
			known = append(known, s.name)
			continue
		}
		if err := s.set(m, text); err != nil {
			return fmt.Errorf("%s: %q is not a number", name, text)
		}
		return nil
	}
	return fmt.Errorf("unknown setting %q: use %s", name, strings.Join(known, ", "))
}

// readMethod reads "asha" or "asha,divisor=3,rungs=4".
func readMethod(m *search.Method, text string) error {
	parts := strings.Split(text, ",")
	m.Name = parts[0]
	for _, p := range parts[1:] {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			return fmt.Errorf("%s: write %q as name=value, such as asha,divisor=3", text, p)
		}
		if err := apply(m, name, value); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

// replayOptions are the flags of sweep replay.
type replayOptions struct {
	methods []string
	slots   int
	values  map[string]*string // of settings
}

func (a *app) sweepReplayCommand() *cobra.Command {
	o := replayOptions{values: map[string]*string{}}
	c := csvCommand(&cobra.Command{
		Use:   "replay SWEEP --method NAME",
		Short: "Decide again on the recorded curves of a sweep: what would another method have saved or missed?",
		Long: `Decide again on the recorded curves of a sweep, at no cost: the trials are those that were made, in their order, and each
method says how far it would have trained each. What it would have saved is in whole trainings; it has missed when the best value that was
recorded is not among what it would have seen. Where it would have trained a trial beyond what was recorded, nobody knows what would have come:
those are counted, so record with random or grid for a fair judgement.

--method may be repeated. A setting after the name is for that method, a flag for all of them.`,
		Example: `  tandem sweep replay digits-random --method asha --divisor 3
  tandem sweep replay digits-random --method asha,divisor=3 --method asha,divisor=4 --method hyperband --method random,stop=median`,
		Args:              want("SWEEP"),
		ValidArgsFunction: a.complete(sweepNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			methods, err := o.read()
			if err != nil {
				return &usageError{err}
			}
			s, trials, err := sweepAndTrials(ctx, c, args[0])
			if err != nil {
				return err
			}
			r, err := o.replay(s.GetJob(), trials, methods)
			if err != nil {
				return err
			}
			if a.output == "csv" {
				return writeRecords(a.out, r.records())
			}
			return a.showValue(r, r.parts(s.GetJob().GetSpec())...)
		}),
	})
	c.Flags().StringArrayVar(&o.methods, "method", nil, "method to decide with: asha, hyperband, random ...; may be repeated")
	within(c.Flags(), &o.slots, "slots", 0, 1, 0, "trials that train at the same time; by default as many as then")
	for _, s := range settings() {
		o.values[s.name] = c.Flags().String(s.name, "", s.usage)
	}
	must(c.MarkFlagRequired("method"))
	must(c.RegisterFlagCompletionFunc("method", cobra.FixedCompletions([]string{search.ASHA, search.Hyperband, search.BOHB, search.Random}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// read reads the methods; flags go to all of them.
func (o *replayOptions) read() ([]search.Method, error) {
	var methods []search.Method
	for _, text := range o.methods {
		m := search.Method{}
		for _, s := range settings() {
			if v := *o.values[s.name]; v != "" {
				if err := apply(&m, s.name, v); err != nil {
					return nil, fmt.Errorf("--%w", err)
				}
			}
		}
		if err := readMethod(&m, text); err != nil { // its own settings have the last word
			return nil, fmt.Errorf("--method %w", err)
		}
		methods = append(methods, m)
	}
	return methods, nil
}

// replayed is what came of it; its JSON is a promise to scripts.
type replayed struct {
	Sweep    string           `json:"sweep"`
	Metric   string           `json:"metric"`
	Mode     string           `json:"mode"`
	Trials   int              `json:"trials"`
	Slots    int              `json:"slots"`
	Recorded recordedTrials   `json:"recorded"`
	Methods  []replayedMethod `json:"methods"`
}

type recordedTrials struct {
	Trained   float64 `json:"trained"`
	BestTrial int     `json:"best_trial"`
	BestValue float64 `json:"best_value"`
}

type replayedMethod struct {
	Method  string  `json:"method"`
	Trained float64 `json:"trained"`
	Saved   float64 `json:"saved_share"`
	Time    float64 `json:"time"`
	// BestTrial is 0 where it saw no value; then there is no best value either, nor what it was missed by.
	BestTrial int      `json:"best_trial"`
	BestValue *float64 `json:"best_value"`
	Missed    bool     `json:"missed"`
	MissedBy  *float64 `json:"missed_by"`
	Stopped   []int    `json:"stopped_trials"`
	Unknown   []int    `json:"unknown_trials"`

	blind string // why it had nothing to compare, and what to do; empty: it had
}

func (o *replayOptions) replay(j *tandemv1.Job, trials []*tandemv1.Trial, methods []search.Method) (*replayed, error) {
	full := j.GetSpec()
	curves, err := curvesOf(j, trials)
	if err != nil {
		return nil, err
	}
	slots := o.slots
	if slots == 0 {
		slots = int(max(1, full.GetSearch().GetMaxConcurrentTrials()))
	}
	r := &replayed{Sweep: j.GetId(), Metric: full.GetMetric(), Mode: full.GetMode(), Trials: len(curves), Slots: slots}
	for i, m := range methods {
		cfg := spec.Config(full, nil)
		cfg.Method = m
		res, err := search.Replay(cfg, curves, slots)
		var wrong *search.ConfigError
		switch {
		case errors.As(err, &wrong):
			return nil, &usageError{fmt.Errorf("--method %s: %w", o.methods[i], err)}
		case err != nil:
			return nil, precondition(err)
		}
		r.Recorded = recordedTrials{res.Recorded, res.BestRecorded.Trial, res.BestRecorded.Value}
		out := replayedMethod{
			Method: methodText(cfg.Complete().Method), Trained: res.Trained, Time: res.Time, BestTrial: res.Best.Trial,
			Missed: res.Missed, Stopped: orEmpty(res.Stopped), Unknown: orEmpty(res.Unknown),
			blind: blind(cfg.Complete().Method, curves, trials),
		}
		if res.Recorded > 0 {
			out.Saved = 1 - res.Trained/res.Recorded
		}
		if res.Best.Trial > 0 {
			by := math.Abs(res.Best.Value - res.BestRecorded.Value)
			out.BestValue, out.MissedBy = &res.Best.Value, &by
		}
		r.Methods = append(r.Methods, out)
	}
	return r, nil
}

// blind says why a method finds nothing to compare at its first rung, and what to do; empty when something was recorded by then.
func blind(m search.Method, curves []search.Curve, trials []*tandemv1.Trial) string {
	first, rung := 1.0, m.FirstRung()
	for _, c := range curves {
		if len(c.Samples) > 0 {
			first = min(first, c.Samples[0].Share)
		}
	}
	if rung >= first-1e-9 {
		return ""
	}
	total := int64(math.MaxInt64) // of the shortest training
	for _, t := range trials {
		if t.GetTotalSteps() > 0 {
			total = min(total, t.GetTotalSteps())
		}
	}
	todo := "In the next sweep evaluate more often"
	switch steps := int64(rung * float64(total)); { // 0 would be once an epoch
	case steps == 1:
		todo += " (evaluate.every_steps: 1)"
	case steps > 1:
		todo += fmt.Sprintf(" (evaluate.every_steps: 1 to %d)", steps)
	}
	fewer := m
	for fewer.Rungs > 1 && fewer.FirstRung() < first-1e-9 {
		fewer.Rungs--
	}
	if fewer.Rungs > 1 {
		todo = fmt.Sprintf("Decide again with rungs=%d or fewer. ", fewer.Rungs) + todo
	}
	return fmt.Sprintf("%s compares trials first when %s of the training is done, and the first value was recorded at %s: there it had nothing to compare. %s.",
		methodText(m), percent(rung), percent(first), todo)
}

// methodText is a complete method as --method takes it.
func methodText(m search.Method) string {
	text := m.Name
	add := func(name string, v any, is bool) {
		if is {
			text += fmt.Sprintf(",%s=%v", name, v)
		}
	}
	add("stop", m.Stop, m.Stop != "" && m.Stop != search.StopNone)
	add("divisor", m.Divisor, m.Divisor != 0)
	add("rungs", m.Rungs, m.Rungs != 0)
	add("variant", m.Variant, m.Variant != "" && m.Variant != search.VariantPromote)
	add("grace", m.Grace, m.Grace != 0)
	add("startup-trials", m.StartupTrials, m.StartupTrials != 0 && (m.Stop == search.StopMedian || m.Stop == search.StopMedianValue))
	return text
}

func orEmpty(list []int) []int {
	if list == nil {
		return []int{}
	}
	return list
}

// curvesOf are the recorded curves of trials, each from the beginning of its training.
func curvesOf(j *tandemv1.Job, trials []*tandemv1.Trial) ([]search.Curve, error) {
	var curves []search.Curve
	measured := false
	for _, t := range trials {
		if t.GetStartCheckpointId() != "" {
			return nil, precondition(fmt.Errorf("trial %d began from a checkpoint of another, so its curve is not of its own hyper-parameters: nobody can decide again on it", t.GetNumber()))
		}
		c := search.Curve{Trial: int(t.GetNumber()), Point: t.GetParameters().AsMap()}
		for _, e := range t.GetEvaluations() {
			value, ok := state.ValueOf(j.GetSpec(), e)
			if share, known := state.ShareOf(t, e.GetStep()); ok && known {
				c.Samples = append(c.Samples, search.Sample{Share: share, Value: value})
			}
		}
		slices.SortStableFunc(c.Samples, func(a, b search.Sample) int { return cmp.Compare(a.Share, b.Share) })
		measured = measured || len(c.Samples) > 0
		curves = append(curves, c)
	}
	if !measured {
		return nil, notYet(j)
	}
	return curves, nil
}

// parts of a replay for people.
func (r *replayed) parts(spec *tandemv1.JobSpec) []part {
	g := grid{header: []string{"METHOD", "TRAINED", "SAVED", "TIME", "BEST " + strings.ToUpper(r.Metric), "TRIAL", "MISSED BY", "STOPPED", "UNKNOWN"}}
	g.rows = append(g.rows, []string{
		methodName(spec.GetSearch().GetMethod()) + " (as recorded)", fmt.Sprintf("%.3g", r.Recorded.Trained), "", "", fmt.Sprintf("%.4g", r.Recorded.BestValue), fmt.Sprint(r.Recorded.BestTrial), "", "", "",
	})
	unknown := 0
	for _, m := range r.Methods {
		best, trial, missed := "nothing measured", "", ""
		if m.BestTrial > 0 {
			best, trial, missed = fmt.Sprintf("%.4g", *m.BestValue), fmt.Sprint(m.BestTrial), "nothing"
		}
		if m.BestTrial > 0 && m.Missed {
			missed = fmt.Sprintf("%.3g", *m.MissedBy)
		}
		g.rows = append(g.rows, []string{
			m.Method, fmt.Sprintf("%.3g", m.Trained), percent(m.Saved), fmt.Sprintf("%.3g", m.Time), best, trial,
			missed, fmt.Sprint(len(m.Stopped)), fmt.Sprint(len(m.Unknown)),
		})
		unknown += len(m.Unknown)
	}
	note := fmt.Sprintf("\n%s on %s; trained and time are in whole trainings.", several(r.Trials, "trial"), several(r.Slots, "slot"))
	if unknown > 0 {
		note += "\nUnknown trials were to train beyond what was recorded: what they would have become is not in these figures."
	}
	for _, m := range r.Methods {
		if m.blind != "" {
			note += "\n" + m.blind
		}
	}
	return []part{g, text(note)}
}

func (r *replayed) records() [][]string {
	rows := [][]string{{"method", "trained", "saved_share", "time", "best_trial", "best_value", "missed", "missed_by", "stopped", "unknown"}}
	rows = append(rows, []string{"recorded", exact(r.Recorded.Trained), "", "", fmt.Sprint(r.Recorded.BestTrial), exact(r.Recorded.BestValue), "", "", "", ""})
	for _, m := range r.Methods {
		best, by := "", ""
		if m.BestTrial > 0 {
			best, by = exact(*m.BestValue), exact(*m.MissedBy)
		}
		rows = append(rows, []string{
			m.Method, exact(m.Trained), exact(m.Saved), exact(m.Time), fmt.Sprint(m.BestTrial), best, strconv.FormatBool(m.Missed), by,
			fmt.Sprint(len(m.Stopped)), fmt.Sprint(len(m.Unknown)),
		})
	}
	return rows
}
