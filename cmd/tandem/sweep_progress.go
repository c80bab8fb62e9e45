package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/proto/kind"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// sweepReporter follows a job and shows it as a sweep when it is one: the watch of a job says that something has changed, and how its trials stand
// is asked for now and then.
type sweepReporter struct {
	reporter
	ask   func(id string) (*tandemv1.GetSweepResponse, error)
	now   func() time.Time
	asked time.Time
}

// sweepPatience is how long one question may take: what is not known now is known later.
const sweepPatience = 2 * time.Second

func (a *app) following(ctx context.Context, c *client.Client) reporter {
	return &sweepReporter{
		reporter: a.reporter(), now: time.Now,
		ask: func(id string) (*tandemv1.GetSweepResponse, error) {
			ctx, cancel := context.WithTimeout(ctx, sweepPatience)
			defer cancel()
			return getSweep(ctx, c, id)
		},
	}
}

func (r *sweepReporter) update(w *tandemv1.WatchJobResponse) {
	if !kind.Of(w.GetJob()).Searches {
		r.reporter.update(w)
		return
	}
	if r.now().Sub(r.asked) < lineEvery && !final(w.GetJob()) {
		return
	}
	s, err := r.ask(w.GetJob().GetId())
	r.asked = r.now()
	head := w.GetJob()
	if head.GetState() == tandemv1.JobState_JOB_STATE_RUNNING && !s.GetSweep().GetFinished() {
		head = proto.CloneOf(head)
		head.Reason = "" // how many trials train: the figures say that
	}
	r.reporter.update(&tandemv1.WatchJobResponse{Job: head})
	if err == nil {
		r.sweep(s)
	}
}

// sweepFigures are the figures of a moment: trials that are done, those that the search has paused, which may go on, all that it may make;
// and for people what runs and waits for slots, and the best value.
func sweepFigures(s *tandemv1.GetSweepResponse) (done, paused, most int32, figures []string) {
	n := s.GetSweep().GetTrials()
	done = n["completed"] + n["stopped"] + n["failed"] + n["cancelled"]
	figures = []string{count(n["running"]) + " running", count(n["pending"]) + " waiting"}
	if s.GetBest() != nil {
		figures = append(figures, fmt.Sprintf("best %s %.4f (trial %d)", s.GetJob().GetSpec().GetMetric(), s.GetSweep().GetBestValue(), s.GetBest().GetNumber()))
	}
	for _, state := range []string{"paused", "failed"} {
		if n[state] > 0 {
			figures = append(figures, count(n[state])+" "+state)
		}
	}
	return done, n["paused"], s.GetSweep().GetMaxTrials(), figures
}

func (l *lines) sweep(s *tandemv1.GetSweepResponse) {
	done, _, of, figures := sweepFigures(s)
	if line := fmt.Sprintf("trials %s/%s done  %s", count(done), count(of), strings.Join(figures, "  ")); line != l.trials {
		l.trials = line
		l.line(line)
	}
}

func (b *bar) sweep(s *tandemv1.GetSweepResponse) {
	done, paused, of, figures := sweepFigures(s)
	if final(s.GetJob()) {
		return
	}
	// Most trials of a search with rungs stay paused at one until its end: they have been tried.
	b.show(figures, int64(min(done+paused, of)), int64(of))
}

// sweepSummary says what became of a sweep. For programs it is what sweep status gives.
func (a *app) sweepSummary(ctx context.Context, c *client.Client, j *tandemv1.Job) error {
	s, err := getSweep(ctx, c, j.GetId())
	if err != nil {
		return err
	}
	f := fields{
		{"Sweep", j.GetId()},
		{"State", plain.Word(j.GetState())},
		{"Took", between(j.GetStartedAt(), j.GetFinishedAt())},
		{"Trials", trialCounts(s.GetSweep().GetTrials())},
		{"Best", bestOfSweep(s)},
	}
	if j.GetState() != tandemv1.JobState_JOB_STATE_COMPLETED {
		f = append(f, [2]string{"Reason", j.GetReason()})
	}
	if version := j.GetPublishedVersion(); version != "" {
		f = append(f, [2]string{"Published", version + a.publishedMetrics(ctx, c, version)})
		f = append(f, aliasesKept(j)...)
		f = append(f, [2]string{"Serve it", "tandem serve " + version})
	}
	parts := []part{f}
	if s.GetBest() != nil {
		parts = append(parts, parameterGrid(j, s.GetBest()))
	}
	return a.ended(j, "Its trials: tandem sweep trials %s", a.show(s, parts...))
}
