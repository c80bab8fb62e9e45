package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// digits makes the dataset of the example.
func (c *cluster) digits() {
	c.t.Helper()
	c.run(0, "dataset", "create", "digits", "--from", filepath.Join(programs.repository, "examples", "digits", "digits.csv"),
		"--label", "label", "--split", "80/10/10", "--shape", "1,8,8", "--normalize", "standard")
}

// spec writes a spec and returns its path.
func (c *cluster) spec(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// longMLP is a job that takes some ten seconds on two slow cores, with checkpoints all along.
func longMLP(name string, steps int) string {
	return fmt.Sprintf(`
name: %s
dataset: digits
model: {mlp: {hidden: [512, 512], dropout: 0.1}}
training:
  batch: 128
  steps: %d
  optimizer: {name: sgd, lr: 0.01, momentum: 0.9}
  seed: 7
resources: {workers: 2}
evaluate: {every_steps: 500}
checkpoint: {every_steps: 250}
`, name, steps)
}

// submit submits a spec file through the CLI and returns the id of the job.
func (c *cluster) submit(path string, more ...string) string {
	c.t.Helper()
	var submitted struct {
		Job struct {
			ID string `json:"id"`
		} `json:"job"`
	}
	decode(c.t, c.run(0, append([]string{"submit", "-f", path, "-o", "json"}, more...)...), &submitted)
	return submitted.Job.ID
}

// job gets a job and its only trial.
func job(ctx context.Context, api *client.Client, id string) (*tandemv1.Job, *tandemv1.Trial, error) {
	res, err := api.Jobs.GetJob(ctx, connect.NewRequest(&tandemv1.GetJobRequest{Id: id}))
	if err != nil {
		return nil, nil, err
	}
	return res.Msg.GetJob(), res.Msg.GetTrials()[0], nil
}

// finished waits for the end of a job and returns it with its trial.
func (c *cluster) finished(id string, within time.Duration) (*tandemv1.Job, *tandemv1.Trial) {
	c.t.Helper()
	var j *tandemv1.Job
	var trial *tandemv1.Trial
	eventually(c.t, within, "job "+id+" ends", func() bool {
		var err error
		if j, trial, err = job(c.t.Context(), c.api, id); err != nil {
			return false
		}
		return j.GetFinishedAt() != nil
	})
	return j, trial
}

// completed is finished, and nothing but COMPLETED will do.
func (c *cluster) completed(id string, within time.Duration) (*tandemv1.Job, *tandemv1.Trial) {
	c.t.Helper()
	j, trial := c.finished(id, within)
	if j.GetState() != tandemv1.JobState_JOB_STATE_COMPLETED {
		c.t.Fatalf("job %s ended %v: %s", id, j.GetState(), j.GetReason())
	}
	return j, trial
}

// sameEvaluations compares every evaluation of two trials, bit for bit.
func sameEvaluations(t *testing.T, want, got *tandemv1.Trial) {
	t.Helper()
	if len(want.GetEvaluations()) == 0 || len(want.GetEvaluations()) != len(got.GetEvaluations()) {
		t.Fatalf("%d evaluations against %d", len(want.GetEvaluations()), len(got.GetEvaluations()))
	}
	for i, w := range want.GetEvaluations() {
		g := got.GetEvaluations()[i]
		if w.GetStep() != g.GetStep() {
			t.Fatalf("evaluation %d is of step %d and of step %d", i, w.GetStep(), g.GetStep())
		}
		for name, value := range w.GetMetrics() {
			if g.GetMetrics()[name] != value {
				t.Errorf("step %d: %s is %v and %v", w.GetStep(), name, value, g.GetMetrics()[name])
			}
		}
	}
}
