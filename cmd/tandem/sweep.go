package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) sweepCommand() *cobra.Command {
	c := group("sweep", "Look at searches for hyper-parameters, and steer them",
		a.sweepStatusCommand(), a.sweepBestCommand(), a.sweepTrialsCommand(), a.sweepPlotCommand(), a.sweepImportanceCommand(),
		a.sweepReplayCommand(), a.sweepExtendCommand(), a.sweepStopTrialCommand())
	c.Long = `Look at searches for hyper-parameters, and steer them. A sweep is a job of kind sweep (docs/spec.md says how to write one): submit,
list, describe, wait, pause, resume and cancel are those of jobs. SWEEP is the id of the job, a unique prefix of it, or its name.`
	return c
}

// csvCommand marks a command that knows -o csv.
func csvCommand(c *cobra.Command) *cobra.Command {
	c.Annotations = map[string]string{csvOutput: ""}
	return c
}

func getSweep(ctx context.Context, c *client.Client, id string) (*tandemv1.GetSweepResponse, error) {
	return askSweep(ctx, c, &tandemv1.GetSweepRequest{Id: id})
}

// sweepToChange is getSweep for a sweep that is going to be changed.
func sweepToChange(ctx context.Context, c *client.Client, id string) (*tandemv1.GetSweepResponse, error) {
	return askSweep(ctx, c, &tandemv1.GetSweepRequest{Id: id, ToChange: true})
}

func askSweep(ctx context.Context, c *client.Client, req *tandemv1.GetSweepRequest) (*tandemv1.GetSweepResponse, error) {
	res, err := c.Sweeps.GetSweep(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

func (a *app) sweepStatusCommand() *cobra.Command {
	return csvCommand(&cobra.Command{
		Use:   "status SWEEP",
		Short: "Show how far a sweep is, what it has used, and the best it has found",
		Long: `Show how far a sweep is, what it has used, and the best it has found. With -o json the best value is sweep.best_value, its
hyper-parameters are best.parameters, and job.state says whether it has ended. With -o csv there is a head and one line.`,
		Example: `  tandem sweep status digits-asha
  tandem sweep status digits-asha -o json | jq .sweep.best_value`,
		Args:              want("SWEEP"),
		ValidArgsFunction: a.complete(sweepNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			s, err := getSweep(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.showRecords(s, func() [][]string { return statusRecords(s) }, sweepStatus(s)...)
		}),
	})
}

// sweepStatus is a sweep for people.
func sweepStatus(r *tandemv1.GetSweepResponse) []part {
	j := r.GetJob()
	f := fields{
		{"Sweep", j.GetId()},
		{"Name", j.GetName()},
		{"State", plain.Word(j.GetState())},
		{"Reason", j.GetReason()},
		{"Asked for", intentName(j)},
	}
	f = append(append(f, searchFields(r)...), fields{
		{"Published", j.GetPublishedVersion()},
		{"Submitted", strings.TrimSpace(moment(j.GetCreatedAt()) + " by " + j.GetSubmittedBy())},
		{"Took", between(j.GetStartedAt(), j.GetFinishedAt())},
	}...)
	return append([]part{append(f, aliasesKept(j)...)}, searchGrids(r)...)
}

// searchFields are what a sweep has beside a job.
func searchFields(r *tandemv1.GetSweepResponse) fields {
	s, spec := r.GetSweep(), r.GetJob().GetSpec()
	return fields{
		{"Method", methodName(spec.GetSearch().GetMethod())},
		{"Trials", fmt.Sprintf("%s of %s made, at most %d at a time", count(s.GetMade()), count(s.GetMaxTrials()), spec.GetSearch().GetMaxConcurrentTrials())},
		{"Warm start", warmStart(s, spec.GetSearch())},
		{"States", trialCounts(s.GetTrials())},
		{"Best", bestOfSweep(r)},
		{"Slot time", slotTime(s, spec.GetSearch())},
		{"Slots", slotsOf(s, spec)},
		{"Deadline", deadline(s)},
		{"Search over", s.GetReason()},
	}
}

// warmStart is what a sweep has taken over from an earlier one.
func warmStart(s *tandemv1.Sweep, spec *tandemv1.SearchSpec) string {
	if spec.GetWarmStart() == "" {
		return ""
	}
	return fmt.Sprintf("takes %s of %s trials of %s", count(s.GetPriorTaken()), count(s.GetPriorMade()), spec.GetWarmStart())
}

// searchGrids are the point of the best trial, and what trains.
func searchGrids(r *tandemv1.GetSweepResponse) []part {
	var parts []part
	if r.GetBest() != nil {
		parts = append(parts, parameterGrid(r.GetJob(), r.GetBest()))
	}
	g := grid{title: "In training", header: []string{"TRIAL", "STEP", "LOSS", "SAMPLES/S", "PHASE"}}
	for _, p := range r.GetProgress() {
		g.rows = append(g.rows, []string{
			p.GetTrialId(), count(p.GetStep()) + "/" + count(p.GetTotalSteps()), fmt.Sprintf("%.4g", p.GetLoss()), rate(p.GetSamplesPerSecond()), p.GetPhase(),
		})
	}
	if final(r.GetJob()) || len(g.rows) == 0 {
		return parts
	}
	return append(parts, g)
}

func statusRecords(r *tandemv1.GetSweepResponse) [][]string {
	s := r.GetSweep()
	head := []string{"sweep", "name", "state", "made", "max_trials", "best_trial", "best_value", "slot_seconds", "published"}
	best := []string{"", ""}
	if r.GetBest() != nil {
		best = []string{number(r.GetBest().GetNumber()), exact(s.GetBestValue())}
	}
	row := []string{s.GetId(), r.GetJob().GetName(), plain.Word(r.GetJob().GetState()), number(s.GetMade()), number(s.GetMaxTrials())}
	row = append(append(row, best...), exact(s.GetSlotSeconds()), r.GetJob().GetPublishedVersion())
	for _, state := range trialStates() {
		head, row = append(head, state), append(row, number(s.GetTrials()[state]))
	}
	return [][]string{head, row}
}

// methodName is a method and what it is made of.
func methodName(m *tandemv1.MethodSpec) string {
	name := m.GetName()
	if m.GetSampler() != "" {
		name += ", points from " + m.GetSampler()
	}
	if m.GetStop() != "" && m.GetStop() != "none" {
		name += ", stopped by " + m.GetStop()
	}
	if m.GetRungs() > 0 {
		name += fmt.Sprintf(", %d rungs, 1 of %d goes on", m.GetRungs(), m.GetDivisor())
	}
	if m.GetPopulation() > 0 {
		name += fmt.Sprintf(", population %d, %d intervals", m.GetPopulation(), m.GetIntervals())
	}
	return name
}

// trialStates are the words for the states of trials.
func trialStates() []string { return plain.Words(tandemv1.TrialState(0).Descriptor()) }

// trialCounts are the numbers of trials by state: those that can change first.
func trialCounts(counts map[string]int32) string {
	var parts []string
	known := []string{"running", "pending", "paused", "completed", "stopped", "failed", "cancelled"}
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		if !slices.Contains(known, state) {
			known = append(known, state)
		}
	}
	for _, state := range known {
		if n := counts[state]; n > 0 {
			parts = append(parts, count(n)+" "+state)
		}
	}
	return strings.Join(parts, ", ")
}

// bestOfSweep says which trial has the best value so far.
func bestOfSweep(r *tandemv1.GetSweepResponse) string {
	if r.GetBest() == nil {
		return "nothing was measured yet"
	}
	text := fmt.Sprintf("%s %.4g: trial %d (%s)", r.GetJob().GetSpec().GetMetric(), r.GetSweep().GetBestValue(), r.GetBest().GetNumber(), r.GetBest().GetId())
	if _, at, ok := bestOf(r.GetJob().GetSpec(), r.GetBest()); ok {
		text += fmt.Sprintf(", at step %s of %s", count(at), count(r.GetBest().GetTotalSteps()))
	}
	return text
}

func slotTime(s *tandemv1.Sweep, search *tandemv1.SearchSpec) string {
	hours := s.GetSlotSeconds() / 3600
	if limit := search.GetGpuHours(); limit > 0 {
		return fmt.Sprintf("%.3g of %.3g slot hours, those of stints in training not counted", hours, limit)
	}
	return fmt.Sprintf("%.3g slot hours", hours)
}

func slotsOf(s *tandemv1.Sweep, spec *tandemv1.JobSpec) string {
	n := s.GetTrials()["running"]
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s in training, each on %s", several(int(n), "trial"), several(int(max(1, spec.GetResources().GetWorkers())), "slot"))
}

func deadline(s *tandemv1.Sweep) string {
	if s.GetDeadline() == nil {
		return ""
	}
	return s.GetDeadline().AsTime().Local().Format("2006-01-02 15:04:05")
}

// parameterGrid is the point of a trial and where it lies in the space.
func parameterGrid(j *tandemv1.Job, t *tandemv1.Trial) grid {
	g := grid{title: fmt.Sprintf("Hyper-parameters of trial %d", t.GetNumber()), header: []string{"PLACE", "VALUE", "SEARCHED"}}
	space, point := j.GetSpec().GetSearch().GetSpace(), t.GetParameters().AsMap()
	for _, place := range slices.Sorted(maps.Keys(space)) {
		g.rows = append(g.rows, []string{place, pointValue(point, place), domainText(space[place])})
	}
	return g
}

// absent is what stands for a hyper-parameter whose condition does not hold.
const absent = "absent"

// pointValue is a hyper-parameter of a point for people.
func pointValue(point map[string]any, place string) string {
	v, ok := point[place]
	if !ok {
		return absent
	}
	if x, isNumber := v.(float64); isNumber {
		return fmt.Sprintf("%.4g", x)
	}
	return plainText(v)
}

// plainText is a value of JSON as one writes it in a spec.
func plainText(v any) string {
	switch v := v.(type) {
	case float64:
		return exact(v)
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = plainText(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// exact is a number with all its digits, for programs.
func exact(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func domainText(d *tandemv1.Domain) string {
	text := ""
	switch {
	case d.GetConst() != nil:
		text = "const " + plainText(d.GetConst().AsInterface())
	case d.GetChoice() != nil:
		text = "choice " + plainText(d.GetChoice().AsSlice())
	case len(d.GetInt()) == 2:
		text = fmt.Sprintf("int [%d, %d]", d.GetInt()[0], d.GetInt()[1])
		if d.GetStep() > 1 {
			text += fmt.Sprintf(", step %d", d.GetStep())
		}
	case len(d.GetLog()) == 2:
		text = fmt.Sprintf("log [%s, %s]", exact(d.GetLog()[0]), exact(d.GetLog()[1]))
	case len(d.GetDouble()) == 2:
		text = fmt.Sprintf("double [%s, %s]", exact(d.GetDouble()[0]), exact(d.GetDouble()[1]))
	}
	for _, on := range slices.Sorted(maps.Keys(d.GetWhen())) {
		text += fmt.Sprintf(", when %s is %s", on, plainText(d.GetWhen()[on].AsSlice()))
	}
	return text
}

func (a *app) sweepBestCommand() *cobra.Command {
	return csvCommand(&cobra.Command{
		Use:   "best SWEEP",
		Short: "Show the best trial of a sweep; with -o yaml as a spec to submit",
		Long: `Show the best trial of a sweep. With -o yaml or -o json it is the trial's own complete spec, which tandem submit takes as it is: the
same seed and hyper-parameters, and no publish section. Its value is in tandem sweep status -o json.`,
		Example: `  tandem sweep best digits-asha
  tandem sweep best digits-asha -o yaml | tandem submit -f - --set training.epochs=100 --set publish.model=digits`,
		Args:              want("SWEEP"),
		ValidArgsFunction: a.complete(sweepNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			s, err := getSweep(ctx, c, args[0])
			if err != nil {
				return err
			}
			t := s.GetBest()
			if t == nil {
				return notYet(s.GetJob())
			}
			if a.output == "csv" {
				return writeRecords(a.out, trialRecords(s.GetJob(), []*tandemv1.Trial{t}))
			}
			if t.GetStartCheckpointId() != "" && a.output != "" && a.output != "table" {
				fmt.Fprintf(a.err, "Trial %d began from a checkpoint of another trial: its spec alone does not give it again.\n", t.GetNumber())
			}
			return a.showAs(func() ([]byte, error) { return encodeJSON(winner(t)) }, bestParts(s))
		}),
	})
}

// winner is the spec of a trial under a name of its own: that of the sweep goes on to name the sweep.
func winner(t *tandemv1.Trial) *tandemv1.JobSpec {
	const longest = 63
	suffix := fmt.Sprintf("-trial%d", t.GetNumber())
	spec := proto.Clone(t.GetSpec()).(*tandemv1.JobSpec)
	spec.Name = strings.TrimRight(spec.GetName()[:min(len(spec.GetName()), longest-len(suffix))], "-") + suffix
	return spec
}

// notYet says that a sweep has no value yet; scripts see that its state does not allow it.
func notYet(j *tandemv1.Job) error {
	return precondition(fmt.Errorf("no trial of sweep %s was measured yet: see how far it is with `tandem sweep status %s`", j.GetId(), j.GetId()))
}

// precondition is an error of a state that does not allow what was asked.
func precondition(err error) error { return connect.NewError(connect.CodeFailedPrecondition, err) }

// bestParts is the best trial for people.
func bestParts(s *tandemv1.GetSweepResponse) []part {
	t := s.GetBest()
	f := fields{
		{"Trial", fmt.Sprintf("%d (%s)", t.GetNumber(), t.GetId())},
		{"State", plain.Word(t.GetState())},
		{"Value", fmt.Sprintf("%s %.6g", s.GetJob().GetSpec().GetMetric(), s.GetSweep().GetBestValue())},
		{"Trained", trialStep(t, s.GetProgress())},
		{"Checkpoint", t.GetBestCheckpointId()},
		{"Published", s.GetJob().GetPublishedVersion()},
		{"Seed", number(t.GetSpec().GetTraining().GetSeed())},
	}
	if t.GetStartCheckpointId() != "" {
		f = append(f, [2]string{"Began from", t.GetStartCheckpointId() + ", a checkpoint of another trial: its spec alone does not give it again"})
	}
	id := s.GetSweep().GetId()
	return []part{f, parameterGrid(s.GetJob(), t), text("\nTrain it again: tandem sweep best " + id + " -o yaml | tandem submit -f -")}
}

func (a *app) sweepExtendCommand() *cobra.Command {
	var trials string
	c := &cobra.Command{
		Use:   "extend SWEEP --max-trials N",
		Short: "Let a sweep make more trials; one that is completed goes on",
		Example: `  tandem sweep extend digits-asha --max-trials 40
  tandem sweep extend digits-asha --max-trials +16`,
		Args:              want("SWEEP"),
		ValidArgsFunction: a.complete(sweepNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			digits, more := strings.CutPrefix(trials, "+")
			n, err := strconv.ParseInt(digits, 10, 32)
			if err != nil || n < 1 {
				return &usageError{fmt.Errorf("--max-trials must be a number of trials in all, such as 40, or how many more, such as +16")}
			}
			id := args[0]
			if more {
				s, err := sweepToChange(ctx, c, id)
				if err != nil {
					return err
				}
				id, n = s.GetSweep().GetId(), n+int64(s.GetSweep().GetMaxTrials())
			}
			res, err := c.Sweeps.ExtendSweep(ctx, connect.NewRequest(&tandemv1.ExtendSweepRequest{
				Id: id, MaxTrials: int32(min(n, 1<<30)), RequestId: a.newRequestID(), //nolint:gosec // bounded here
			}))
			if err != nil {
				return err
			}
			s := res.Msg.GetSweep()
			all := ""
			if int64(s.GetMaxTrials()) < n {
				all = ", for its grid has no more points"
			}
			return a.show(res.Msg, text(fmt.Sprintf("%s may make %s trials now%s, and has made %s; follow it with `tandem wait %s`",
				s.GetId(), count(s.GetMaxTrials()), all, count(s.GetMade()), s.GetId())))
		}),
	}
	c.Flags().StringVar(&trials, "max-trials", "", "trials it may make in all, or +N: N more")
	must(c.MarkFlagRequired("max-trials"))
	return c
}

func (a *app) sweepStopTrialCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "stop-trial SWEEP TRIAL...",
		Short:             "End trials of a sweep by their numbers; the others go on",
		ValidArgsFunction: a.complete(sweepNames),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return want("SWEEP", "TRIAL")(nil, args)
			}
			return nil
		},
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			var numbers []int32
			for _, text := range args[1:] {
				n, err := strconv.ParseInt(text, 10, 32)
				if err != nil || n < 1 {
					return &usageError{fmt.Errorf("%q is not the number of a trial: see them with `tandem sweep trials %s`", text, args[0])}
				}
				numbers = append(numbers, int32(n))
			}
			s, err := sweepToChange(ctx, c, args[0])
			if err != nil {
				return err
			}
			sweep := s.GetSweep()
			if last := slices.Max(numbers); last > sweep.GetMade() {
				return connect.NewError(connect.CodeNotFound, fmt.Errorf("sweep %s has made %s, so there is no trial %d: see them with `tandem sweep trials %s`",
					sweep.GetId(), several(int(sweep.GetMade()), "trial"), last, sweep.GetId()))
			}
			if err := a.confirm(fmt.Sprintf("Stop trial %s of %s? A stopped trial cannot go on.", strings.Join(args[1:], ", "), args[0])); err != nil {
				return err
			}
			for _, n := range numbers {
				res, err := c.Sweeps.StopSweepTrial(ctx, connect.NewRequest(&tandemv1.StopSweepTrialRequest{Id: sweep.GetId(), Trial: n, RequestId: a.newRequestID()}))
				if err != nil {
					return err
				}
				if err := a.show(res.Msg, text(fmt.Sprintf("Trial %d is %s; the search goes on without it.", n, plain.Word(res.Msg.GetTrial().GetState())))); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}
