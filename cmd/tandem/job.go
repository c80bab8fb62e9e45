package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/cmd/tandem/queue"
	"tandem.dev/proto/kind"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) listCommand() *cobra.Command {
	var states []string
	var limit int32
	var since string
	req := &tandemv1.ListJobsRequest{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List jobs, newest first",
		Long: `List jobs, newest first. Tables have the newest 100 without --limit; -o json and -o yaml have all, or at most --limit of them: then
next_page_token is not empty where there are more.`,
		Args: want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			var err error
			if req.States, err = statesNamed(states, jobStates()); err != nil {
				return err
			}
			if req.Since, err = sinceTime(since, time.Now()); err != nil {
				return &usageError{err}
			}
			most := a.rowLimit(limit)
			res, err := listJobs(ctx, c, req, most)
			if err != nil {
				return err
			}
			g := jobGrid(res.GetJobs())
			switch {
			case req.GetName()+req.GetUser()+since != "" || len(req.GetLabels()) > 0:
				g.empty = "No job is like that."
			case len(states) > 0:
				g.empty = "No job is " + strings.ToLower(strings.Join(states, " or ")) + "."
			}
			err = a.show(res, g)
			if err == nil && res.GetNextPageToken() != "" && a.people() {
				a.say("There are more: these are the newest %d. See more with --limit, or fewer states with --state.", most)
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&req.Name, "name", "", "only of this name")
	cmd.Flags().StringSliceVarP(&req.Labels, "label", "l", nil,
		"only with this label: KEY=VALUE, or KEY for any value; may be given several times")
	cmd.Flags().StringVar(&req.User, "user", "", "only those that this token has submitted")
	cmd.Flags().StringVar(&since, "since", "", "only those submitted since then: how long ago (24h), or a time (2026-01-02T15:04:05Z)")
	cmd.Flags().StringSliceVar(&states, "state", nil, "only these states: "+strings.Join(jobStates(), ", "))
	quantity.Flag(cmd.Flags(), &limit, "limit", 0, 1, math.MaxInt32-1, fmt.Sprintf("at most this many, the newest; without it %d are shown, and -o json has all", shownRows))
	must(cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(jobStates(), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// listJobs asks page by page for the newest jobs, at most limit of them.
func listJobs(ctx context.Context, c *client.Client, req *tandemv1.ListJobsRequest, limit int32) (*tandemv1.ListJobsResponse, error) {
	all, next, err := pages(limit, func(limit int32, token string) ([]*tandemv1.Job, string, error) {
		req.Limit, req.PageToken = limit, token
		res, err := c.Jobs.ListJobs(ctx, connect.NewRequest(req))
		if err != nil {
			return nil, "", err
		}
		return res.Msg.GetJobs(), res.Msg.GetNextPageToken(), nil
	})
	return &tandemv1.ListJobsResponse{Jobs: slices.Concat(all...), NextPageToken: next}, err
}

// statesNamed are the states of jobs that words stand for, which are some of these.
func statesNamed(words, known []string) (states []tandemv1.JobState, err error) {
	for _, s := range words {
		v, ok := plain.Number(tandemv1.JobState(0).Descriptor(), strings.ToLower(s))
		if !ok || !slices.Contains(known, strings.ToLower(s)) {
			return nil, &usageError{fmt.Errorf("unknown state %q: use %s", s, strings.Join(known, ", "))}
		}
		states = append(states, tandemv1.JobState(v))
	}
	return states, nil
}

func jobStates() []string { return plain.Words(tandemv1.JobState(0).Descriptor()) }

func jobGrid(jobs []*tandemv1.Job) grid {
	g := grid{
		header: []string{
			"ID", "NAME", "STATE", "DATASET", "WORKERS", "AGE", "PUBLISHED", "REASON", "KIND", "PRIORITY", "TOOK", "BY", "PROJECT", "LABELS", "NOTE",
		},
		wide:  7,
		empty: "No jobs. Submit one: tandem submit -f job.yaml --wait",
	}
	for _, j := range jobs {
		s := j.GetSpec()
		g.rows = append(g.rows, []string{
			j.GetId(), j.GetName(), plain.Word(j.GetState()), s.GetDataset(), number(workersOf(j)),
			age(j.GetCreatedAt()), j.GetPublishedVersion(), j.GetReason(),
			s.GetKind(), number(j.GetPriority()), between(j.GetStartedAt(), j.GetFinishedAt()), j.GetSubmittedBy(), j.GetProject(),
			queue.Labels(j.GetLabels()), j.GetNote(),
		})
	}
	return g
}

func (a *app) describeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "describe JOB",
		Short: "Show a job: where it is, why, how far, and what came out of it",
		Long: `Show a job: where it is, why, how far, and what came out of it. A name that several jobs have stands for the newest that has not ended,
else for the newest.

What -o yaml or -o json writes can be submitted, which makes a job of the same spec: tandem describe JOB -o yaml | tandem submit -f -`,
		Args:              want("JOB"),
		ValidArgsFunction: a.complete(jobNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Jobs.GetJob(ctx, connect.NewRequest(&tandemv1.GetJobRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			a.sayWhich(res.Msg)
			parts := describeJob(res.Msg)
			if kind.Of(res.Msg.GetJob()).Searches {
				s, err := getSweep(ctx, c, res.Msg.GetJob().GetId())
				if err != nil {
					return err
				}
				parts = append(append(parts, searchFields(s)), searchGrids(s)...)
			}
			return a.show(res.Msg, parts...)
		}),
	}
}

// jobID is the id of a job, which other calls take: when it was named, and others have the name, it says which one it is.
func (a *app) jobID(ctx context.Context, c *client.Client, ref string) (string, error) {
	if strings.HasPrefix(ref, "job-") || strings.HasPrefix(ref, "trial-") {
		return ref, nil
	}
	res, err := c.Jobs.GetJob(ctx, connect.NewRequest(&tandemv1.GetJobRequest{Id: ref}))
	if err != nil {
		return "", err
	}
	a.sayWhich(res.Msg)
	return res.Msg.GetJob().GetId(), nil
}

// jobIDs is jobID for several, each once.
func (a *app) jobIDs(ctx context.Context, c *client.Client, refs []string) (ids []string, err error) {
	for _, ref := range refs {
		id, err := a.jobID(ctx, c, ref)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// sayWhich says which of several jobs a name stood for.
func (a *app) sayWhich(r *tandemv1.GetJobResponse) {
	if others := r.GetOthers(); len(others) > 0 {
		a.say("%d jobs are named %s: this is %s (%s); see all with `tandem list --name %s`.",
			len(others)+1, r.GetJob().GetName(), r.GetJob().GetId(), plain.Word(r.GetJob().GetState()), r.GetJob().GetName())
	}
}

// describeSpec is what describe shows of a job that does not exist yet: what would be done.
func describeSpec(j *tandemv1.Job) []part {
	s := j.GetSpec()
	return []part{append(fields{
		{"Name", j.GetName()}, {"Kind", s.GetKind()}, {"Dataset", s.GetDataset()}, {"Model", architecture(s.GetModel())},
		{"Workers", workersField(j)}, {"Priority", number(j.GetPriority())}, {"Spec hash", j.GetSpecHash()},
	}, trainingFields(s)...)}
}

func describeJob(r *tandemv1.GetJobResponse) []part {
	j, s := r.GetJob(), r.GetJob().GetSpec()
	f := fields{
		{"Job", j.GetId()},
		{"Name", j.GetName()},
		{"Kind", s.GetKind()},
		{"State", plain.Word(j.GetState())},
		{"Reason", j.GetReason()},
		{"Asked for", intentName(j)},
		{"Dataset", s.GetDataset()},
		{"Model", architecture(s.GetModel())},
		{"Best", bestEvaluation(j, r.GetTrials())},
		{"Workers", workersField(j)},
		{"Priority", number(j.GetPriority())},
		{"After", queue.After(j)},
		{"Labels", queue.Labels(j.GetLabels())},
		{"Note", j.GetNote()},
		{"Submitted", strings.TrimSpace(moment(j.GetCreatedAt()) + " by " + j.GetSubmittedBy())},
		{"Started", moment(j.GetStartedAt())},
		{"Finished", moment(j.GetFinishedAt())},
		{"Took", between(j.GetStartedAt(), j.GetFinishedAt())},
		{"Published", j.GetPublishedVersion()},
		{"Logs", deletedText(j.GetLogsDeletedAt(), j.GetLogsKeptFor())},
		{"Spec hash", j.GetSpecHash()},
	}
	parts := []part{append(append(f, aliasesKept(j)...), trainingFields(s)...)}
	g := grid{title: "Trials", header: []string{"ID", "STATE", "STAGE", "STEP", "RESTARTS", "BEST CHECKPOINT", "REASON"}}
	for _, t := range r.GetTrials() {
		g.rows = append(g.rows, []string{
			t.GetId(), plain.Word(t.GetState()), plain.Word(t.GetStage()),
			trialStep(t, r.GetProgress()), number(t.GetRestarts()), t.GetBestCheckpointId(), t.GetReason(),
		})
	}
	parts = append(parts, g)
	for _, t := range r.GetTrials() {
		if now := progressOf(t, r.GetProgress()).GetStepTime(); now.GetSteps() > 0 {
			parts = append(parts, text("\nStep time of "+t.GetId()+" now: "+stepLine(now)))
		}
		e := grid{title: "Validation of " + t.GetId(), header: []string{"STEP", "EPOCH", "METRICS"}}
		for _, v := range t.GetEvaluations()[max(0, len(t.GetEvaluations())-10):] {
			e.rows = append(e.rows, []string{number(v.GetStep()), fmt.Sprintf("%.4g", v.GetEpoch()), metrics(v.GetMetrics())})
		}
		parts = append(parts, e)
	}
	return parts
}

func intentName(j *tandemv1.Job) string {
	if j.GetIntent() <= tandemv1.JobIntent_JOB_INTENT_RUN {
		return ""
	}
	return plain.Word(j.GetIntent())
}

// trialStep is how far a trial is, by its live progress, else by its last evaluation; and what it waits for.
func trialStep(t *tandemv1.Trial, progress []*tandemv1.Progress) string {
	step := int64(0)
	if n := len(t.GetEvaluations()); n > 0 {
		step = t.GetEvaluations()[n-1].GetStep()
	}
	p := progressOf(t, progress)
	text := number(max(step, p.GetStep()))
	if t.GetTotalSteps() > 0 {
		text += "/" + number(t.GetTotalSteps())
	}
	if p.GetPhase() == waitingForStorage && t.GetState() == tandemv1.TrialState_TRIAL_STATE_RUNNING {
		text += ", " + waitingForStorage
	}
	return text
}

func progressOf(t *tandemv1.Trial, progress []*tandemv1.Progress) *tandemv1.Progress {
	i := slices.IndexFunc(progress, func(p *tandemv1.Progress) bool {
		return p.GetTrialId() == t.GetId() && p.GetGeneration() == t.GetGeneration()
	})
	if i < 0 {
		return nil
	}
	return progress[i]
}

func (a *app) pauseCommand() *cobra.Command {
	return a.intentCommand("pause", "Stop a job at a step boundary with a checkpoint, and give its slots back",
		"pauses; go on with `tandem resume %s`", tandemv1.JobIntent_JOB_INTENT_PAUSE)
}

func (a *app) resumeCommand() *cobra.Command {
	return a.intentCommand("resume", "Let a paused job go on where it stopped",
		"goes on; follow it with `tandem wait %s`", tandemv1.JobIntent_JOB_INTENT_RUN)
}

func (a *app) cancelCommand() *cobra.Command {
	return a.intentCommand("cancel", "End a job now; its checkpoints stay",
		"is cancelled; what it left: `tandem checkpoint list --job %s`", tandemv1.JobIntent_JOB_INTENT_CANCEL)
}

func (a *app) intentCommand(verb, summary, done string, intent tandemv1.JobIntent) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " JOB...",
		Short:             summary,
		Args:              some("JOB"),
		ValidArgsFunction: a.complete(jobNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			var jobs []*tandemv1.Job
			var names []string
			for _, id := range args {
				res, err := c.Jobs.GetJob(ctx, connect.NewRequest(&tandemv1.GetJobRequest{Id: id, ToChange: true}))
				if err != nil {
					return err
				}
				j := res.Msg.GetJob()
				jobs = append(jobs, j)
				if !final(j) {
					names = append(names, fmt.Sprintf("%s (%s, %s)", j.GetId(), j.GetName(), plain.Word(j.GetState())))
				}
			}
			if intent == tandemv1.JobIntent_JOB_INTENT_CANCEL && len(names) > 0 {
				if err := a.confirm(fmt.Sprintf("Cancel %s? A cancelled job cannot go on.", strings.Join(names, ", "))); err != nil {
					return err
				}
			}
			for _, j := range jobs {
				if err := a.setIntent(ctx, c, j, intent, done); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// setIntent says what is wanted of a job. Where that is wanted already it says what is; what has ended the cluster refuses.
func (a *app) setIntent(ctx context.Context, c *client.Client, j *tandemv1.Job, intent tandemv1.JobIntent, done string) error {
	cancelled := j.GetState() == tandemv1.JobState_JOB_STATE_CANCELLED && intent == tandemv1.JobIntent_JOB_INTENT_CANCEL
	if cancelled || j.GetIntent() == intent && !final(j) {
		return a.show(&tandemv1.SetJobIntentResponse{Job: j}, text(fmt.Sprintf("%s is %s already; nothing was changed", j.GetId(), condition(j))))
	}
	res, err := c.Jobs.SetJobIntent(ctx, connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: j.GetId(), Intent: intent, RequestId: a.newRequestID()}))
	if err != nil {
		return err
	}
	return a.show(res.Msg, text(j.GetId()+" "+fmt.Sprintf(done, j.GetId())))
}

// condition is the state of a job and where it goes from there.
func condition(j *tandemv1.Job) string {
	if j.GetIntent() == tandemv1.JobIntent_JOB_INTENT_PAUSE && j.GetState() != tandemv1.JobState_JOB_STATE_PAUSED {
		return plain.Word(j.GetState()) + " and about to pause"
	}
	return plain.Word(j.GetState())
}
