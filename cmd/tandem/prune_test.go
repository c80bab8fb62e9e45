package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// PruneJobs has two jobs to delete, one with each call, and one that stays.
func (f *fake) PruneJobs(_ context.Context, r *connect.Request[tandemv1.PruneJobsRequest]) (*connect.Response[tandemv1.PruneJobsResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prunes = append(f.prunes, r.Msg)
	old := []*tandemv1.PrunedJob{
		{Id: "job-1", Name: "a", State: tandemv1.JobState_JOB_STATE_FAILED, Checkpoints: 1200, Bytes: 1 << 20},
		{Id: "job-2", Name: "b", State: tandemv1.JobState_JOB_STATE_COMPLETED, Checkpoints: 1},
		{Id: "job-3", Name: "c", State: tandemv1.JobState_JOB_STATE_COMPLETED, Checkpoints: 7, Keep: true, Reason: "It is needed."},
	}
	if r.Msg.GetDryRun() {
		return connect.NewResponse(&tandemv1.PruneJobsResponse{Jobs: old}), nil
	}
	if n := len(f.prunes); n == 1 {
		return connect.NewResponse(&tandemv1.PruneJobsResponse{Jobs: old[:1], More: true}), nil
	}
	return connect.NewResponse(&tandemv1.PruneJobsResponse{Jobs: old[1:]}), nil
}

// DeleteJob deletes whatever it is asked to, once under each request id.
func (f *fake) DeleteJob(_ context.Context, r *connect.Request[tandemv1.DeleteJobRequest]) (*connect.Response[tandemv1.DeleteJobResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deletes = append(f.deletes, r.Msg.GetRequestId())
	return connect.NewResponse(&tandemv1.DeleteJobResponse{Job: &tandemv1.Job{Id: "job-" + r.Msg.GetId(), Name: r.Msg.GetId()}}), nil
}

func TestPruneAsksFirstAndGoesOnUntilThereAreNoMore(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("prune", "--older-than", "4w2d", "--state", "Failed,completed", "--dry-run"), exitOK,
		"job-3", "It is needed.", "Would delete 2 jobs with 1,201 checkpoints (1.0 MiB)")
	if p := f.prunes[0]; p.GetOlderThan().AsDuration() != 30*24*time.Hour || len(p.GetStates()) != 2 || !p.GetDryRun() {
		t.Errorf("asked for %v", p)
	}
	u.want(u.run("prune", "--older-than", "30d"), exitUsage, "Delete 2 jobs", "add -y")
	if len(f.prunes) != 2 || !f.prunes[1].GetDryRun() {
		t.Errorf("without an answer: %v", f.prunes)
	}
	f.prunes = nil
	u.want(u.run("prune", "--older-than", "30d", "-y", "--request-id", "r"), exitOK, "Deleted 2 jobs with 1,201 checkpoints")
	if len(f.prunes) != 2 || f.prunes[0].GetRequestId() != "r" || f.prunes[1].GetRequestId() != "r/2" {
		t.Errorf("asked for %v", f.prunes)
	}
	f.prunes = nil
	u.want(u.run("prune", "--older-than", "30d", "--logs", "--dry-run"), exitOK, "Would delete the logs of 2 jobs")
	u.want(u.run("prune", "--older-than", "30d", "--logs", "-y"), exitOK, "Deleted the logs of")
	for _, p := range f.prunes {
		if !p.GetLogsOnly() {
			t.Errorf("asked for %v, which deletes jobs", p)
		}
	}
	u.want(u.run("prune"), exitUsage, "--older-than 30d")
	u.want(u.run("prune", "--older-than", "soon"), exitUsage, "is not a duration such as 30d")
	u.want(u.run("prune", "--older-than", "1d", "--state", "running"), exitUsage, "completed, failed, cancelled")
	u.want(u.run("delete", "-y", "--request-id", "d", "x", "y"), exitOK, "job-x (x) is deleted", "job-y (y) is deleted")
	if strings.Join(f.deletes, " ") != "d d/2" {
		t.Errorf("asked under %v", f.deletes)
	}
}
