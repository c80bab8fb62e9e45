package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// specJob is a job whose spec has one of all that a spec may have.
func specJob() *tandemv1.Job {
	restarts, decay := int32(0), 0.0
	return &tandemv1.Job{
		Id: "job-7", Name: "digits", SpecHash: "abc", State: tandemv1.JobState_JOB_STATE_RUNNING,
		Spec: &tandemv1.JobSpec{
			Name: "digits", Kind: "train", Dataset: "digits@3", DatasetId: "data-1", Metric: "accuracy", Mode: "max", MaxRestarts: &restarts,
			Model:     &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{64, 32}, Activation: "relu"}}},
			Training:  &tandemv1.TrainingSpec{Batch: 64, Epochs: 30, Seed: 1<<53 + 1, Optimizer: &tandemv1.OptimizerSpec{Name: "adamw", Lr: 1e-7, WeightDecay: &decay}},
			Resources: &tandemv1.ResourceSpec{Workers: 2, Min: 1, Max: 4, Pool: "default"}, Publish: &tandemv1.PublishSpec{Model: "yes", Aliases: []string{"champion"}},
		},
	}
}

// TestJobsGoInAgain: what describe, list and the API write of a job is submitted as the same spec, and fork does so with changes.
func TestJobsGoInAgain(t *testing.T) {
	ca := newAuthority(t)
	var got *tandemv1.JobSpec
	f := &fake{
		get: func(string) (*tandemv1.GetJobResponse, error) {
			return &tandemv1.GetJobResponse{Job: specJob(), Trials: []*tandemv1.Trial{{Id: "trial-1", Spec: &tandemv1.JobSpec{Name: "other"}}}}, nil
		},
		submit: func(r *tandemv1.SubmitJobRequest) (*tandemv1.SubmitJobResponse, error) {
			got = r.GetSpec()
			return &tandemv1.SubmitJobResponse{Job: &tandemv1.Job{Id: "job-8", Spec: r.GetSpec(), SpecHash: "abc"}}, nil
		},
	}
	u := newUser(t, ca.pem, ca.serve(t, f))
	for _, form := range []string{"yaml", "json"} {
		got = nil
		u.want(u.run("describe", "digits", "-o", form), exitOK)
		u.in = u.out.String()
		u.want(u.run("submit", "-f", "-", "-o", form), exitOK)
		if !proto.Equal(got, specJob().GetSpec()) {
			t.Errorf("%s: %v of %s", form, got, u.in)
		}
		got, u.in = nil, u.out.String() // what submit wrote
		u.want(u.run("submit", "-f", "-", "--set", "training.seed=2"), exitOK)
		if want := specJob().GetSpec(); got.GetTraining().GetSeed() != 2 || got.GetDataset() != want.GetDataset() {
			t.Errorf("%s: %v", form, got)
		}
	}
	u.want(u.run("fork", "digits"), exitOK, "job-8 submitted")
	if !proto.Equal(got, specJob().GetSpec()) {
		t.Errorf("fork: %v", got)
	}
	u.want(u.run("fork", "digits", "--set", "training.seed=2", "--set", "name=again"), exitOK)
	want := specJob().GetSpec()
	want.Training.Seed, want.Name = 2, "again"
	if !proto.Equal(got, want) {
		t.Errorf("fork --set: %v", got)
	}
	u.want(u.run("fork", "digits", "--set", "training.sed=2"), exitUsage, `did you mean "seed"`)
	u.in = "{spec: {name: x}, job: 3}" // no job of a cluster
	u.want(u.run("submit", "-f", "-"), exitUsage, `unknown key "spec"`)
}

// TestListIsWhole: programs get all pages, people the newest, and whoever limits it is told that there are more.
func TestListIsWhole(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{}
	for i := range 105 {
		f.jobs = append(f.jobs, &tandemv1.Job{Id: fmt.Sprintf("job-%d", i)})
	}
	u := newUser(t, ca.pem, ca.serve(t, f))
	read := func(args ...string) (n int, token string) {
		t.Helper()
		u.want(u.run(append([]string{"list", "-o", "json"}, args...)...), exitOK)
		var all struct {
			Jobs []struct{ ID string }
			Next string `json:"next_page_token"`
		}
		if err := json.Unmarshal([]byte(u.out.String()), &all); err != nil || u.err.String() != "" {
			t.Fatal(err, u.err.String())
		}
		for i, j := range all.Jobs {
			if j.ID != fmt.Sprintf("job-%d", i) {
				t.Errorf("place %d has %s", i, j.ID)
			}
		}
		return len(all.Jobs), all.Next
	}
	if n, token := read(); n != 105 || token != "" {
		t.Errorf("%d jobs, token %q", n, token)
	}
	if n, token := read("--limit", "3"); n != 3 || token == "" {
		t.Errorf("%d jobs, token %q", n, token)
	}
	u.want(u.run("list"), exitOK, "There are more", "the newest 100")
	if n := strings.Count(u.out.String(), "\n"); n != 101 {
		t.Errorf("%d lines", n)
	}
}

// TestWhichJob: of several jobs of a name, it is said which one is meant.
func TestWhichJob(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{
		get: func(string) (*tandemv1.GetJobResponse, error) {
			return &tandemv1.GetJobResponse{Job: specJob(), Others: []string{"job-6", "job-5"}}, nil
		},
		logs: func(func(*tandemv1.StreamLogsResponse) error) error { return nil },
		watch: func(_ context.Context, _ string, send func(*tandemv1.WatchJobResponse) error) error {
			return send(endsAs("job-completed"))
		},
	}
	u := newUser(t, ca.pem, ca.serve(t, f))
	for _, args := range [][]string{{"describe", "digits"}, {"logs", "digits"}, {"wait", "digits"}, {"fork", "digits", "--dry-run", "--set", "x=1"}} {
		u.run(args...)
		if want := "3 jobs are named digits: this is job-7 (running)"; !strings.Contains(u.err.String(), want) {
			t.Errorf("%v: %s", args, u.err.String())
		}
	}
}

// endsAs is the end of the job of an id that says how it ends: "job-failed".
func endsAs(id string) *tandemv1.WatchJobResponse {
	state := tandemv1.JobState_value["JOB_STATE_"+strings.ToUpper(strings.TrimPrefix(id, "job-"))]
	return &tandemv1.WatchJobResponse{Job: &tandemv1.Job{Id: id, Name: "n", State: tandemv1.JobState(state), Reason: "Why."}}
}

// TestWaitForSeveral: the exit code is that of the first that did not complete, or of the first that ends.
func TestWaitForSeveral(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{watch: func(ctx context.Context, id string, send func(*tandemv1.WatchJobResponse) error) error {
		if id == "job-running" {
			if err := send(endsAs(id)); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}
		return send(endsAs(id))
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("wait", "job-completed", "job-failed", "job-cancelled"), exitFailed, "job-completed (n) completed\n", "job-failed (n) failed: Why.", "job-cancelled (n) cancelled")
	u.want(u.run("wait", "job-cancelled", "job-completed", "job-failed", "--all"), exitCancelled)
	u.want(u.run("wait", "job-completed", "job-completed"), exitOK) // the same one twice
	u.want(u.run("wait", "--any", "job-running", "job-failed"), exitFailed, "job-failed (n) failed")
	u.want(u.run("wait", "--any", "job-completed", "job-running"), exitOK)
	u.want(u.run("wait", "job-completed", "job-running", "--timeout", "200ms"), exitTimeout, "tandem wait job-running")
	u.want(u.run("wait", "a", "b", "--any", "--all"), exitUsage)
	u.want(u.run("wait", "job-completed", "job-failed", "-o", "json"), exitFailed)
	d := json.NewDecoder(strings.NewReader(u.out.String()))
	states := map[string]bool{}
	for d.More() {
		var w struct{ Job struct{ State string } }
		if err := d.Decode(&w); err != nil {
			t.Fatal(err)
		}
		states[w.Job.State] = true
	}
	if len(states) != 2 || !states["completed"] || !states["failed"] {
		t.Errorf("%v in %s", states, u.out.String())
	}
	f.get = func(id string) (*tandemv1.GetJobResponse, error) {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("job "+id+" was not found"))
	}
	u.want(u.run("wait", "job-running", "nope"), exitNotFound, "job nope was not found") // before anything is waited for
}

// TestIDAfterTimeout: who gives up waiting gets the id of what was begun.
func TestIDAfterTimeout(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{
		submit: func(r *tandemv1.SubmitJobRequest) (*tandemv1.SubmitJobResponse, error) {
			return &tandemv1.SubmitJobResponse{Job: &tandemv1.Job{Id: "job-7", Spec: r.GetSpec()}}, nil
		},
	}
	u := newUser(t, ca.pem, ca.serve(t, f))
	path := filepath.Join(u.dir, "job.yaml")
	if err := os.WriteFile(path, []byte(aSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, heard := range map[string]bool{"it has heard of the job": true, "it has not": false} {
		f.watch = func(ctx context.Context, _ string, send func(*tandemv1.WatchJobResponse) error) error {
			if heard {
				if err := send(&tandemv1.WatchJobResponse{Job: specJob()}); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return ctx.Err()
		}
		u.want(u.run("submit", "-f", path, "--wait", "--timeout", "200ms", "-o", "json"), exitTimeout)
		var got struct{ Job struct{ ID string } }
		if err := json.Unmarshal([]byte(u.out.String()), &got); err != nil || got.Job.ID != "job-7" {
			t.Errorf("%s: %v: %s", name, err, u.out.String())
		}
	}
}
