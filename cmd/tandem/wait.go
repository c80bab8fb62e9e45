package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) waitCommand() *cobra.Command {
	var timeout time.Duration
	var anyOne, all bool
	cmd := &cobra.Command{
		Use:   "wait JOB...",
		Short: "Follow jobs to their end; Ctrl-C detaches, the jobs go on",
		Long: `Follow a job to its end, with live progress. The exit code says how it ended: 0 completed, 3 failed, 4 cancelled,
7 when --timeout ended first. Ctrl-C detaches; the job goes on. A sweep is completed when its search is over and a trial has a value, and
has failed when none has; with -o json its end is that of tandem sweep status. When the time is over, -o json and yaml write the job as it is then.

Several jobs are waited for until all have ended, and shown as they end; -o json and yaml write one document for each. The exit code is that of the
first that did not complete, in the order of the command line. With --any the first job that ends is enough, and the exit code is that of this one.`,
		Example:           "  tandem wait digits --timeout 2h\n  tandem wait a b c --any -o json",
		Args:              some("JOB"),
		ValidArgsFunction: a.complete(jobNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			ids, err := a.jobIDs(ctx, c, args)
			switch {
			case err != nil:
				return err
			case len(ids) == 1:
				_, err = a.await(ctx, c, ids[0], submitOptions{timeout: timeout})
				return err
			}
			return a.awaitSeveral(ctx, c, ids, timeout, anyOne)
		}),
	}
	quantity.Flag(cmd.Flags(), &timeout, "timeout", 0, quantity.LeastTimeout, 0, "wait so long at most")
	cmd.Flags().BoolVar(&anyOne, "any", false, "until one of the jobs has ended")
	cmd.Flags().BoolVar(&all, "all", false, "until all have ended (the default)")
	cmd.MarkFlagsMutuallyExclusive("any", "all")
	return cmd
}

// await follows a job to its end, shows how it goes and what became of it; an error when it did not complete.
func (a *app) await(ctx context.Context, c *client.Client, id string, o submitOptions) (*tandemv1.Job, error) {
	last, err := a.followed(ctx, c, id, o)
	if err != nil {
		if last == nil && o.submitted != nil {
			last = &tandemv1.WatchJobResponse{Job: o.submitted}
		}
		if last != nil && !a.people() { // who gives up waiting needs the id
			if bad := a.show(last); bad != nil {
				return last.GetJob(), bad
			}
		}
		return last.GetJob(), err
	}
	if kind.Of(last.GetJob()).Searches {
		return last.GetJob(), a.sweepSummary(ctx, c, last.GetJob())
	}
	return last.GetJob(), a.summary(ctx, c, last)
}

// followed follows a job to its end and shows how it goes.
func (a *app) followed(ctx context.Context, c *client.Client, id string, o submitOptions) (*tandemv1.WatchJobResponse, error) {
	watching := ctx
	if o.timeout > 0 {
		var cancel context.CancelFunc
		watching, cancel = context.WithTimeoutCause(ctx, o.timeout, errTimeout)
		defer cancel()
	}
	r := a.following(watching, c)
	last, err := follow(watching, c, id, r)
	r.close()
	if last != nil {
		id = last.GetJob().GetId()
	}
	switch {
	case ctx.Err() != nil && o.ephemeral:
		return last, context.Cause(ctx)
	case ctx.Err() != nil:
		a.say("\nDetached. The job goes on; follow it again with `tandem wait %s`, end it with `tandem cancel %s`.", id, id)
		return last, &silentError{errInterrupted}
	case errors.Is(context.Cause(watching), errTimeout):
		return last, fmt.Errorf("%w; the job goes on: follow it again with `tandem wait %s`", errTimeout, id)
	}
	return last, err
}

// follow watches a job until it ends, across the loss of coordinators.
func follow(ctx context.Context, c *client.Client, id string, r reporter) (last *tandemv1.WatchJobResponse, err error) {
	err = watch(ctx, c, streamed[tandemv1.WatchJobResponse]{
		open: func(ctx context.Context) (*connect.ServerStreamForClient[tandemv1.WatchJobResponse], error) {
			return c.Jobs.WatchJob(ctx, connect.NewRequest(&tandemv1.WatchJobRequest{Id: id}))
		},
		take: func(w *tandemv1.WatchJobResponse) (bool, error) {
			last, id = w, w.GetJob().GetId()
			r.update(w)
			return final(w.GetJob()), nil
		},
		lost: func(lost bool) {
			if lost {
				r.note("connection to the coordinator lost, trying again")
			} else {
				r.note("connected again")
			}
		},
	})
	return last, err
}

func final(j *tandemv1.Job) bool {
	switch j.GetState() {
	case tandemv1.JobState_JOB_STATE_COMPLETED, tandemv1.JobState_JOB_STATE_FAILED, tandemv1.JobState_JOB_STATE_CANCELLED:
		return true
	}
	return false
}

// summary says what became of a job.
func (a *app) summary(ctx context.Context, c *client.Client, w *tandemv1.WatchJobResponse) error {
	j := w.GetJob()
	f := fields{
		{"Job", j.GetId()},
		{"State", plain.Word(j.GetState())},
		{"Took", between(j.GetStartedAt(), j.GetFinishedAt())},
		{"Best", bestEvaluation(j, w.GetTrials())},
	}
	if j.GetState() != tandemv1.JobState_JOB_STATE_COMPLETED {
		f = append(f, [2]string{"Reason", j.GetReason()})
	}
	if version := j.GetPublishedVersion(); version != "" {
		f = append(f, [2]string{"Published", version + a.publishedMetrics(ctx, c, version)})
		f = append(f, aliasesKept(j)...)
		f = append(f, [2]string{"Serve it", "tandem serve " + version})
	}
	return a.ended(j, "Its log: tandem logs %s", a.show(w, f))
}

// aliasesKept says which aliases stay where they were though the job published a version for them, and why.
func aliasesKept(j *tandemv1.Job) (f fields) {
	for _, kept := range j.GetAliasesKept() {
		f = append(f, [2]string{"Not moved", kept.GetReason()})
	}
	return f
}

// ended is the error of a job that did not complete, once all was shown but for where to look next.
func (a *app) ended(j *tandemv1.Job, look string, shown error) error {
	switch {
	case shown != nil:
		return shown
	case j.GetState() == tandemv1.JobState_JOB_STATE_COMPLETED:
		return nil
	case a.output != "table" && a.output != "wide":
		return &jobError{j}
	}
	a.say(look, j.GetId())
	return &silentError{&jobError{j}}
}

func (a *app) publishedMetrics(ctx context.Context, c *client.Client, version string) string {
	res, err := c.Models.GetVersion(ctx, connect.NewRequest(&tandemv1.GetVersionRequest{Version: version}))
	if err != nil || len(res.Msg.GetVersion().GetMetrics()) == 0 {
		return ""
	}
	return "  (" + metrics(res.Msg.GetVersion().GetMetrics()) + ")"
}

// bestEvaluation is the best of all evaluations by the job's metric, in words.
func bestEvaluation(j *tandemv1.Job, trials []*tandemv1.Trial) string {
	var best *tandemv1.Evaluation
	for _, t := range trials {
		best = state.BestEvaluation(j.GetSpec(), append([]*tandemv1.Evaluation{best}, t.GetEvaluations()...))
	}
	if best == nil {
		return ""
	}
	metric := j.GetSpec().GetMetric()
	return fmt.Sprintf("validation %s %.4g at step %d (epoch %.4g)", metric, best.GetMetrics()[metric], best.GetStep(), best.GetEpoch())
}
