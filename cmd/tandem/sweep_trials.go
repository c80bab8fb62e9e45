package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/page"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// listTrials gets all trials of a sweep, page by page.
func listTrials(ctx context.Context, c *client.Client, id string) ([]*tandemv1.Trial, error) {
	all, _, err := pages(math.MaxInt32, func(limit int32, token string) ([]*tandemv1.Trial, string, error) {
		res, err := c.Sweeps.ListTrials(ctx, connect.NewRequest(&tandemv1.ListTrialsRequest{Id: id, Limit: limit, PageToken: token}))
		if err != nil {
			return nil, "", err
		}
		return res.Msg.GetTrials(), res.Msg.GetNextPageToken(), nil
	})
	return slices.Concat(all...), err
}

// sweepAndTrials gets a sweep and all its trials.
func sweepAndTrials(ctx context.Context, c *client.Client, id string) (*tandemv1.GetSweepResponse, []*tandemv1.Trial, error) {
	s, err := getSweep(ctx, c, id)
	if err != nil {
		return nil, nil, err
	}
	trials, err := listTrials(ctx, c, s.GetSweep().GetId())
	return s, trials, err
}

// trialsOptions are the flags of sweep trials.
type trialsOptions struct {
	states []string
	sort   string
	limit  int
}

func (a *app) sweepTrialsCommand() *cobra.Command {
	var o trialsOptions
	c := csvCommand(&cobra.Command{
		Use:   "trials SWEEP",
		Short: "List the trials of a sweep with their hyper-parameters and values",
		Long: `List the trials of a sweep with their hyper-parameters, how far they have trained, and the best value of each. A paused trial
waits until the search lets it go on. A hyper-parameter whose condition does not hold is absent, and empty with -o csv.
The log and the series of a trial are those of its id, which -o wide shows: tandem logs ID, tandem metrics ID --plot.`,
		Example: `  tandem sweep trials digits-asha --sort value --limit 10
  tandem sweep trials digits-asha --state running,pending
  tandem sweep trials digits-asha -o csv > trials.csv`,
		Args:              want("SWEEP"),
		ValidArgsFunction: a.complete(sweepNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			s, all, err := sweepAndTrials(ctx, c, args[0])
			if err != nil {
				return err
			}
			chosen := o.choose(s.GetJob().GetSpec(), all)
			limit := o.limit
			if limit == 0 && (a.output == "table" || a.output == "wide") {
				limit = shownRows
			}
			res := &tandemv1.ListTrialsResponse{Trials: chosen}
			if limit > 0 && len(chosen) > limit {
				if res.Trials = chosen[:limit]; o.sort == byNumber {
					res.NextPageToken = page.Trials.Number(int64(res.GetTrials()[limit-1].GetNumber()))
				}
			}
			shown := res.GetTrials()
			err = a.showRecords(res, func() [][]string { return trialRecords(s.GetJob(), shown) },
				trialGrid(s.GetJob(), shown, s.GetProgress()))
			if err == nil && len(shown) < len(chosen) && a.people() {
				a.say("There are more: these are %s of %s. See more with --limit, the best with --sort value, or all with -o csv.", count(len(shown)), count(len(chosen)))
			}
			return err
		}),
	})
	c.Flags().StringSliceVar(&o.states, "state", nil, "only these states: "+strings.Join(trialStates(), ", "))
	c.Flags().StringVar(&o.sort, "sort", byNumber, "order: number, or value (best first)")
	quantity.Flag(c.Flags(), &o.limit, "limit", 0, 1, 0, fmt.Sprintf("at most this many; by default %d for people, and all for programs", shownRows))
	must(c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(trialStates(), cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions([]string{"number", "value"}, cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// byNumber is the order of trials without --sort.
const byNumber = "number"

func (o *trialsOptions) check() error {
	for i, s := range o.states {
		o.states[i] = strings.ToLower(s)
		if !slices.Contains(trialStates(), o.states[i]) {
			return &usageError{fmt.Errorf("unknown state %q: use %s", s, strings.Join(trialStates(), ", "))}
		}
	}
	if o.sort != byNumber && o.sort != "value" {
		return &usageError{fmt.Errorf("--sort must be number or value, not %q", o.sort)}
	}
	return nil
}

func (o *trialsOptions) choose(spec *tandemv1.JobSpec, all []*tandemv1.Trial) []*tandemv1.Trial {
	var chosen []*tandemv1.Trial
	for _, t := range all {
		if len(o.states) == 0 || slices.Contains(o.states, plain.Word(t.GetState())) {
			chosen = append(chosen, t)
		}
	}
	if o.sort == "value" {
		chosen = ranked(spec, chosen)
	}
	return chosen
}

// ranked are trials by their best value, best first; those that were not measured are last.
func ranked(spec *tandemv1.JobSpec, trials []*tandemv1.Trial) []*tandemv1.Trial {
	type measured struct {
		trial *tandemv1.Trial
		value float64
	}
	var known []measured
	var others []*tandemv1.Trial
	for _, t := range trials {
		if v, _, ok := bestOf(spec, t); ok {
			known = append(known, measured{t, v})
		} else {
			others = append(others, t)
		}
	}
	slices.SortStableFunc(known, func(a, b measured) int {
		if spec.GetMode() == "max" {
			return cmp.Compare(b.value, a.value)
		}
		return cmp.Compare(a.value, b.value)
	})
	out := make([]*tandemv1.Trial, 0, len(trials))
	for _, m := range known {
		out = append(out, m.trial)
	}
	return append(out, others...)
}

// bestOf is the best value of a trial and the step it was measured at.
func bestOf(spec *tandemv1.JobSpec, t *tandemv1.Trial) (value float64, step int64, ok bool) {
	e := state.BestEvaluation(spec, t.GetEvaluations())
	return e.GetMetrics()[spec.GetMetric()], e.GetStep(), e != nil
}

// trialGrid is trials for people.
func trialGrid(j *tandemv1.Job, trials []*tandemv1.Trial, progress []*tandemv1.Progress) grid {
	places := placesOf(j)
	g := grid{header: append([]string{"TRIAL", "STATE"}, shortNames(places)...), wide: 4, empty: "No trials yet."}
	g.header = append(g.header, "STEP", "TRAINED", strings.ToUpper(j.GetSpec().GetMetric()), "REASON", "ID", "UNTIL", "RESTARTS", "CHECKPOINT")
	for _, t := range trials {
		point := t.GetParameters().AsMap()
		row := []string{number(t.GetNumber()), plain.Word(t.GetState())}
		for _, place := range places {
			row = append(row, pointValue(point, place))
		}
		value := ""
		if v, _, ok := bestOf(j.GetSpec(), t); ok {
			value = fmt.Sprintf("%.4g", v)
		}
		until := ""
		if u := t.GetUntil(); u > 0 && u < 1 {
			until = percent(u)
		}
		step := max(state.StepOf(t), progressOf(t, progress).GetStep())
		row = append(row, count(step), trainedShare(t, step), value, t.GetReason(), t.GetId(), until, number(t.GetRestarts()), t.GetBestCheckpointId())
		g.rows = append(g.rows, row)
	}
	return g
}

// trainedShare is the share of the training that was done; empty when the whole is not known.
func trainedShare(t *tandemv1.Trial, step int64) string {
	share, ok := state.ShareOf(t, step)
	if !ok {
		return ""
	}
	return percent(share)
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }

// trialRecords are trials for programs.
func trialRecords(j *tandemv1.Job, trials []*tandemv1.Trial) [][]string {
	places := placesOf(j)
	rows := [][]string{append(append([]string{"trial", "id", "state", "step", "total_steps", "until", "value", "value_step", "last_value"}, places...), "reason")}
	for _, t := range trials {
		row := []string{number(t.GetNumber()), t.GetId(), plain.Word(t.GetState()), number(state.StepOf(t)), number(t.GetTotalSteps()), exact(t.GetUntil()), "", "", ""}
		if v, step, ok := bestOf(j.GetSpec(), t); ok {
			row[6], row[7] = exact(v), number(step)
		}
		if n := len(t.GetEvaluations()); n > 0 {
			if v, ok := state.ValueOf(j.GetSpec(), t.GetEvaluations()[n-1]); ok {
				row[8] = exact(v)
			}
		}
		point := t.GetParameters().AsMap()
		for _, place := range places {
			v, ok := point[place]
			if !ok {
				row = append(row, "")
				continue
			}
			row = append(row, plainText(v))
		}
		rows = append(rows, append(row, t.GetReason()))
	}
	return rows
}

// placesOf are the hyper-parameters of a sweep in order.
func placesOf(j *tandemv1.Job) []string {
	return slices.Sorted(maps.Keys(j.GetSpec().GetSearch().GetSpace()))
}

// shortNames are the shortest ends of places that tell them apart: "lr" of training.optimizer.lr.
func shortNames(places []string) []string {
	names := make([]string, len(places))
	for i, place := range places {
		steps := strings.Split(place, ".")
		for n := 1; n <= len(steps); n++ {
			names[i] = strings.Join(steps[len(steps)-n:], ".")
			if !slices.ContainsFunc(places, func(o string) bool { return o != place && strings.HasSuffix("."+o, "."+names[i]) }) {
				break
			}
		}
	}
	return names
}

// showRecords is show for a command that knows -o csv.
func (a *app) showRecords(m proto.Message, records func() [][]string, parts ...part) error {
	if a.output == "csv" {
		return writeRecords(a.out, records())
	}
	return a.show(m, parts...)
}

func writeRecords(w io.Writer, rows [][]string) error {
	out := csv.NewWriter(w)
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}
