package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

// setting is one of a method: a flag, and a key after the name of a method.
type setting struct {
	name, usage string
	set         func(m *tandemv1.MethodSpec, text string) error
}

// settings are those that change what a method does with recorded trials; where it takes its points from does not.
func settings() []setting {
	whole := func(to func(*tandemv1.MethodSpec) *int32) func(*tandemv1.MethodSpec, string) error {
		return func(m *tandemv1.MethodSpec, text string) error {
			n, err := strconv.ParseInt(text, 10, 32)
			*to(m) = int32(n)
			return err
		}
	}
	return []setting{
		{"stop", "of random, grid, sobol, tpe, cmaes: none, median, median-value or asha", func(m *tandemv1.MethodSpec, text string) error { m.Stop = text; return nil }},
		{"divisor", "of asha, hyperband, bohb: of this many trials one goes on at each rung", whole(func(m *tandemv1.MethodSpec) *int32 { return &m.Divisor })},
		{"rungs", "of the same: how many there are", whole(func(m *tandemv1.MethodSpec) *int32 { return &m.Rungs })},
		{"variant", "of asha: promote or stop", func(m *tandemv1.MethodSpec, text string) error { m.Variant = text; return nil }},
		{"grace", "of stop=median and median-value: share of the training before which no trial is ended", func(m *tandemv1.MethodSpec, text string) (err error) {
			m.Grace, err = strconv.ParseFloat(text, 64)
			return err
		}},
		{"startup-trials", "of stop=median and median-value: trials before it has an opinion", whole(func(m *tandemv1.MethodSpec) *int32 { return &m.StartupTrials })},
	}
}

// apply one setting by its name.
func apply(m *tandemv1.MethodSpec, name, text string) error {
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
func readMethod(m *tandemv1.MethodSpec, text string) error {
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
			res, err := c.Sweeps.ReplaySweep(ctx, connect.NewRequest(&tandemv1.ReplaySweepRequest{
				Id: args[0], Methods: methods, Slots: int32(o.slots), //nolint:gosec // the flag has a range
			}))
			if err != nil {
				return err
			}
			s, err := getSweep(ctx, c, res.Msg.GetSweep())
			if err != nil {
				return err
			}
			r := res.Msg
			return a.showRecords(r, func() [][]string { return replayRecords(r) }, replayParts(r, s.GetJob().GetSpec())...)
		}),
	})
	c.Flags().StringArrayVar(&o.methods, "method", nil, "method to decide with: asha, hyperband, random ...; may be repeated")
	quantity.Flag(c.Flags(), &o.slots, "slots", 0, 1, 0, "trials that train at the same time; by default as many as then")
	for _, s := range settings() {
		o.values[s.name] = c.Flags().String(s.name, "", s.usage)
	}
	must(c.MarkFlagRequired("method"))
	must(c.RegisterFlagCompletionFunc("method", cobra.FixedCompletions([]string{search.ASHA, search.Hyperband, search.BOHB, search.Random}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// read reads the methods; flags go to all of them.
func (o *replayOptions) read() ([]*tandemv1.MethodSpec, error) {
	var methods []*tandemv1.MethodSpec
	for _, text := range o.methods {
		m := &tandemv1.MethodSpec{}
		for _, s := range settings() {
			if v := *o.values[s.name]; v != "" {
				if err := apply(m, s.name, v); err != nil {
					return nil, fmt.Errorf("--%w", err)
				}
			}
		}
		if err := readMethod(m, text); err != nil { // its own settings have the last word
			return nil, fmt.Errorf("--method %w", err)
		}
		methods = append(methods, m)
	}
	return methods, nil
}

// parts of a replay for people.
func replayParts(r *tandemv1.ReplaySweepResponse, spec *tandemv1.JobSpec) []part {
	g := grid{header: []string{"METHOD", "TRAINED", "SAVED", "TIME", "BEST " + strings.ToUpper(r.GetMetric()), "TRIAL", "MISSED BY", "STOPPED", "UNKNOWN"}}
	g.rows = append(g.rows, []string{
		methodName(spec.GetSearch().GetMethod()) + " (as recorded)",
		fmt.Sprintf("%.3g", r.GetRecorded().GetTrained()), "", "",
		fmt.Sprintf("%.4g", r.GetRecorded().GetBestValue()), fmt.Sprint(r.GetRecorded().GetBestTrial()), "", "", "",
	})
	unknown := 0
	for _, m := range r.GetMethods() {
		best, trial, missed := "nothing measured", "", ""
		if m.GetBestTrial() > 0 {
			best, trial, missed = fmt.Sprintf("%.4g", m.GetBestValue()), fmt.Sprint(m.GetBestTrial()), "nothing"
		}
		if m.GetBestTrial() > 0 && m.GetMissed() {
			missed = fmt.Sprintf("%.3g", m.GetMissedBy())
		}
		g.rows = append(g.rows, []string{
			m.GetMethod(), fmt.Sprintf("%.3g", m.GetTrained()), percent(m.GetSavedShare()), fmt.Sprintf("%.3g", m.GetTime()), best, trial,
			missed, fmt.Sprint(len(m.GetStoppedTrials())), fmt.Sprint(len(m.GetUnknownTrials())),
		})
		unknown += len(m.GetUnknownTrials())
	}
	note := fmt.Sprintf("\n%s on %s; trained and time are in whole trainings.", several(int(r.GetTrials()), "trial"), several(int(r.GetSlots()), "slot"))
	if unknown > 0 {
		note += "\nUnknown trials were to train beyond what was recorded: what they would have become is not in these figures."
	}
	for _, m := range r.GetMethods() {
		if m.GetBlind() != "" {
			note += "\n" + m.GetBlind()
		}
	}
	return []part{g, text(note)}
}

func replayRecords(r *tandemv1.ReplaySweepResponse) [][]string {
	rows := [][]string{{"method", "trained", "saved_share", "time", "best_trial", "best_value", "missed", "missed_by", "stopped", "unknown"}}
	recorded := r.GetRecorded()
	rows = append(rows, []string{"recorded", exact(recorded.GetTrained()), "", "", fmt.Sprint(recorded.GetBestTrial()),
		exact(recorded.GetBestValue()), "", "", "", ""})
	for _, m := range r.GetMethods() {
		best, by := "", ""
		if m.GetBestTrial() > 0 {
			best, by = exact(m.GetBestValue()), exact(m.GetMissedBy())
		}
		rows = append(rows, []string{
			m.GetMethod(), exact(m.GetTrained()), exact(m.GetSavedShare()), exact(m.GetTime()), fmt.Sprint(m.GetBestTrial()), best, strconv.FormatBool(m.GetMissed()), by,
			fmt.Sprint(len(m.GetStoppedTrials())), fmt.Sprint(len(m.GetUnknownTrials())),
		})
	}
	return rows
}
