package api

import (
	"context"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	// pruneRows is how many rows one call deletes, and a job more: applying the command stops all others.
	pruneRows = 10_000
	// leastRetention is the shortest time that a policy keeps something: who is too quick with it has time to see it.
	leastRetention = time.Hour
)

// PruneJobs implements JobService. The objects are deleted by the leader's loop gc.
func (a jobs) PruneJobs(ctx context.Context, req *connect.Request[tandemv1.PruneJobsRequest]) (*connect.Response[tandemv1.PruneJobsResponse], error) {
	m := req.Msg
	switch {
	case m.GetOlderThan() == nil:
		return nil, invalid("older_than: is missing: how long ago must a job have ended?")
	case m.GetOlderThan().CheckValid() != nil || m.GetOlderThan().AsDuration() < 0:
		return nil, invalid("older_than: must be a duration that is not negative")
	case slices.ContainsFunc(m.GetStates(), func(s tandemv1.JobState) bool { return !state.JobFinal(s) }):
		return nil, invalid("states: must be JOB_STATE_COMPLETED, JOB_STATE_FAILED or JOB_STATE_CANCELLED: only what has ended can be deleted")
	}
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	if doneBefore(ctx, v, m) {
		return connect.NewResponse(&tandemv1.PruneJobsResponse{}), nil
	}
	before, rows := time.Now().Add(-m.GetOlderThan().AsDuration()), pruneRows
	if m.GetDryRun() {
		rows = 0
	}
	res := &tandemv1.PruneJobsResponse{}
	if m.GetLogsOnly() {
		res.Jobs, res.More = state.PruneLogs(v, before, m.GetStates(), rows)
	} else {
		res.Jobs, res.More = v.Prune(before, m.GetStates(), rows)
	}
	going := state.Going(res.GetJobs())
	if m.GetDryRun() || len(going) == 0 {
		return connect.NewResponse(res), nil
	}
	project := From(ctx).Project
	if project == state.DefaultProject || project == state.AllProjects {
		project = ""
	}
	if _, _, err := a.write(ctx, m, &tandemv1.Command{Command: &tandemv1.Command_DeleteJobs{
		DeleteJobs: &tandemv1.DeleteJobs{
			JobIds: going, FinishedBefore: timestamppb.New(before), LogsOnly: m.GetLogsOnly(), Project: project,
		},
	}}); err != nil {
		return nil, err
	}
	return connect.NewResponse(res), nil
}

// SetRetention implements ClusterService.
func (a cluster) SetRetention(ctx context.Context, req *connect.Request[tandemv1.SetRetentionRequest]) (*connect.Response[tandemv1.SetRetentionResponse], error) {
	policy := req.Msg.GetRetention()
	for _, f := range []struct {
		name string
		d    *durationpb.Duration
	}{{"jobs", policy.GetJobs()}, {"events", policy.GetEvents()}, {"logs", policy.GetLogs()}} {
		if f.d != nil && (f.d.CheckValid() != nil || f.d.AsDuration() < leastRetention) {
			return nil, invalid("retention." + f.name + ": must be 1h at least; leave it out to keep all")
		}
	}
	_, after, err := a.write(ctx, req.Msg, &tandemv1.Command{Command: &tandemv1.Command_SetRetention{SetRetention: &tandemv1.SetRetention{Retention: policy}}})
	if err != nil {
		return nil, err
	}
	c, _ := after.Cluster()
	return connect.NewResponse(&tandemv1.SetRetentionResponse{Retention: c.GetRetention()}), nil
}
