package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/kind"
	lists "tandem.dev/proto/page"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

type jobs struct{ *API }

const (
	maxJobs   = 1000 // in one answer
	maxOthers = 100  // ids of other jobs of a name
)

// sweepWork is how many other calls the check of a sweep is worth, whose trainings are completed by the hundred, or of a large spec.
const sweepWork = 50

// outlookWork is how many other calls an outlook is worth: hundreds of decisions are made for it.
const outlookWork = 20

// SubmitJob implements JobService.
func (a jobs) SubmitJob(ctx context.Context, req *connect.Request[tandemv1.SubmitJobRequest]) (*connect.Response[tandemv1.SubmitJobResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	v, project, err := a.madeIn(ctx, v, req.Msg.GetSpec().GetProject())
	if err != nil {
		return nil, err
	}
	if asked, _ := kind.Named(req.Msg.GetSpec().GetKind()); asked.Searches || spec.Large(req.Msg.GetSpec()) {
		if err := spend(ctx, sweepWork); err != nil {
			return nil, err
		}
	}
	full, err := spec.Complete(req.Msg.GetSpec(), v.ResolveDataset)
	if err != nil {
		return nil, err
	}
	full.Project = "" // where the job is, not what it does
	if err := spec.Room(v.Jobs(), full); err != nil {
		return nil, precondition(err.Error())
	}
	is, _ := kind.Named(full.GetKind())
	if is.Replays {
		if err := a.fillReplay(ctx, v, full, req.Msg.GetSpec().GetResources().GetPool()); err != nil {
			return nil, err
		}
	}
	if err := a.checkFiles(ctx, v, full); err != nil {
		return nil, err
	}
	create := &tandemv1.CreateJob{}
	if is.Searches {
		if create.Sweep, err = newSweep(v, full, time.Now()); err != nil {
			return nil, err
		}
	}
	hash, err := spec.Hash(full)
	if err != nil {
		return nil, err
	}
	job := &tandemv1.Job{
		Id: id.New("job"), Project: project, Name: full.GetName(), Kind: is.ID, Spec: full, SpecHash: hash,
		State: tandemv1.JobState_JOB_STATE_PENDING, Intent: tandemv1.JobIntent_JOB_INTENT_RUN, SubmittedBy: From(ctx).Name,
	}
	var wrong int
	if job.After, wrong, err = state.ResolvePredecessors(v, full.GetAfter()); err != nil {
		return nil, spec.Wrong(fmt.Sprintf("after[%d]", wrong), err.Error())
	}
	answer := &tandemv1.SubmitJobResponse{Job: job}
	if create.Job = job; create.Sweep != nil {
		create.Sweep.Id = job.GetId()
		answer.Notes = spec.Describe(full)
	} else {
		create.Trial = firstTrial(job)
	}
	if req.Msg.GetDryRun() {
		if create.Trial != nil {
			if err := spend(ctx, outlookWork); err != nil {
				return nil, err
			}
			answer.Outlook = a.outlook(ctx, v, job, create.GetTrial())
		}
		return connect.NewResponse(answer), nil
	}
	res, after, err := a.write(ctx, req.Msg, &tandemv1.Command{Command: &tandemv1.Command_CreateJob{CreateJob: create}})
	if err != nil {
		return nil, err
	}
	accepted, ok := after.In(project).Job(res.GetId())
	if !ok {
		return nil, fmt.Errorf("job %s: %w", res.GetId(), state.ErrNotFound)
	}
	answer.Job = accepted
	return connect.NewResponse(answer), nil
}

// firstTrial is the one trial of a job whose trials are not made by a search. The job names it.
func firstTrial(job *tandemv1.Job) *tandemv1.Trial {
	trial := &tandemv1.Trial{
		Id: id.New("trial"), JobId: job.GetId(),
		State: tandemv1.TrialState_TRIAL_STATE_PENDING, Stage: kind.Of(job).First,
	}
	job.TrialIds = []string{trial.GetId()}
	return trial
}

// checkFiles checks what a spec names outside of itself: an uploaded model, a checkpoint.
func (a jobs) checkFiles(ctx context.Context, v *state.View, full *tandemv1.JobSpec) error {
	if sha := full.GetModel().GetTorchscript().GetArtifact(); sha != "" {
		if err := a.checkModelFile(ctx, sha); err != nil {
			return err
		}
	}
	source := full.GetPublish().GetCheckpointId()
	if source == "" {
		return nil
	}
	ckpt, err := sourceOf(v, "publish.checkpoint_id", source)
	if err != nil {
		return err
	}
	full.Publish.CheckpointId = ckpt.GetId()
	return nil
}

// sourceOf finds the checkpoint that a spec names at a path.
func sourceOf(v *state.View, path, ref string) (*tandemv1.Checkpoint, error) {
	ckpt, err := v.ResolveCheckpoint(ref)
	if err != nil {
		return nil, spec.Wrong(path, err.Error())
	}
	if ckpt.GetDeleting() {
		return nil, spec.Wrong(path, "checkpoint "+ckpt.GetId()+" is being deleted")
	}
	return ckpt, nil
}

// GetJob implements JobService.
func (a jobs) GetJob(ctx context.Context, req *connect.Request[tandemv1.GetJobRequest]) (*connect.Response[tandemv1.GetJobResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	resolve := v.ResolveJob
	if req.Msg.GetToChange() {
		resolve = v.ResolveJobToChange
	}
	job, err := resolve(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	w := a.observe(v, job)
	res := &tandemv1.GetJobResponse{Job: w.GetJob(), Trials: w.GetTrials(), Progress: w.GetProgress()}
	for _, t := range res.GetTrials() {
		res.Best = state.BestEvaluation(job.GetSpec(), append([]*tandemv1.Evaluation{res.GetBest()}, t.GetEvaluations()...))
	}
	if req.Msg.GetId() == job.GetName() && req.Msg.GetId() != job.GetId() {
		for _, j := range slices.Backward(v.JobsNamed(job.GetName())) {
			if j.GetId() != job.GetId() && len(res.GetOthers()) < maxOthers {
				res.Others = append(res.Others, j.GetId())
			}
		}
	}
	return connect.NewResponse(res), nil
}

// ListJobs implements JobService.
func (a jobs) ListJobs(ctx context.Context, req *connect.Request[tandemv1.ListJobsRequest]) (*connect.Response[tandemv1.ListJobsResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	limit, err := rows(req.Msg.GetLimit(), defaultLimit, maxJobs)
	if err != nil {
		return nil, err
	}
	before, err := lists.Jobs.Place(req.Msg.GetPageToken())
	if err != nil {
		return nil, err
	}
	all := v.Jobs()
	if name := req.Msg.GetName(); name != "" {
		all = v.JobsNamed(name)
	}
	var wanted []*tandemv1.Job
	for _, j := range slices.Backward(all) {
		if (before == "" || state.JobPage(j) < before) && state.JobListed(j, req.Msg) {
			wanted = append(wanted, j)
		}
		if len(wanted) > limit {
			break
		}
	}
	res, more := &tandemv1.ListJobsResponse{}, false
	if res.Jobs, more = lists.First(wanted, limit); more {
		res.NextPageToken = lists.Jobs.Token(state.JobPage(res.GetJobs()[len(res.GetJobs())-1]))
	}
	return connect.NewResponse(res), nil
}

// change proposes a change of a job, and returns the job as it is then.
func (a jobs) change(ctx context.Context, req request, ref string, change func(id string) *tandemv1.Command) (*tandemv1.Job, error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	job, err := v.ResolveJobToChange(ref)
	if err != nil {
		return nil, err
	}
	_, after, err := a.write(ctx, req, change(job.GetId()))
	if err != nil {
		return nil, err
	}
	job, _ = after.Job(job.GetId())
	return job, nil
}

// SetJobIntent implements JobService.
func (a jobs) SetJobIntent(
	ctx context.Context, req *connect.Request[tandemv1.SetJobIntentRequest],
) (*connect.Response[tandemv1.SetJobIntentResponse], error) {
	if req.Msg.GetIntent() == tandemv1.JobIntent_JOB_INTENT_UNSPECIFIED {
		return nil, invalid("intent: is missing: must be JOB_INTENT_RUN, JOB_INTENT_PAUSE or JOB_INTENT_CANCEL")
	}
	job, err := a.change(ctx, req.Msg, req.Msg.GetId(), func(id string) *tandemv1.Command {
		change := &tandemv1.SetJobIntent{JobId: id, Intent: req.Msg.GetIntent()}
		return &tandemv1.Command{Command: &tandemv1.Command_SetJobIntent{SetJobIntent: change}}
	})
	return answer(&tandemv1.SetJobIntentResponse{Job: job}, err)
}

// UpdateJob implements JobService.
func (a jobs) UpdateJob(ctx context.Context, req *connect.Request[tandemv1.UpdateJobRequest]) (*connect.Response[tandemv1.UpdateJobResponse], error) {
	m := req.Msg
	if err := spec.CheckUpdate(m); err != nil {
		return nil, err
	}
	job, err := a.change(ctx, m, m.GetId(), func(id string) *tandemv1.Command {
		return &tandemv1.Command{Command: &tandemv1.Command_UpdateJob{UpdateJob: &tandemv1.UpdateJob{
			JobId: id, Priority: m.Priority, Pool: m.Pool, Labels: m.GetLabels(), Note: m.Note,
		}}}
	})
	return answer(&tandemv1.UpdateJobResponse{Job: job}, err)
}

// ScaleJob implements JobService.
func (a jobs) ScaleJob(ctx context.Context, req *connect.Request[tandemv1.ScaleJobRequest]) (*connect.Response[tandemv1.ScaleJobResponse], error) {
	job, err := a.change(ctx, req.Msg, req.Msg.GetId(), func(id string) *tandemv1.Command {
		change := &tandemv1.ScaleJob{JobId: id, Workers: req.Msg.GetWorkers()}
		return &tandemv1.Command{Command: &tandemv1.Command_ScaleJob{ScaleJob: change}}
	})
	return answer(&tandemv1.ScaleJobResponse{Job: job}, err)
}

// DeleteJob implements JobService. When a request comes again its job is gone, and the name may be another's. The objects are deleted by the leader's loop gc.
func (a jobs) DeleteJob(ctx context.Context, req *connect.Request[tandemv1.DeleteJobRequest]) (*connect.Response[tandemv1.DeleteJobResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	if doneBefore(ctx, v, req.Msg) {
		return connect.NewResponse(&tandemv1.DeleteJobResponse{}), nil
	}
	job, err := v.ResolveJobToChange(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	// A command with one part is refused as a whole when that is.
	if _, _, err := a.write(ctx, req.Msg, &tandemv1.Command{
		Command: &tandemv1.Command_DeleteJobs{DeleteJobs: &tandemv1.DeleteJobs{JobIds: []string{job.GetId()}}},
	}); err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.DeleteJobResponse{Job: job}), nil
}

// observe is a job with its trials, if it is not a sweep, and how far those are that run.
func (a jobs) observe(v *state.View, job *tandemv1.Job) *tandemv1.WatchJobResponse {
	w := &tandemv1.WatchJobResponse{Job: job}
	if why := a.why(v, job); why != nil {
		w.Job = state.Shallow(job)
		w.Job.Why = why
	}
	running := v.TrialsIn(job.GetId(), tandemv1.TrialState_TRIAL_STATE_RUNNING)
	if !kind.Of(job).Searches { // the trials of a sweep are too many
		w.Trials = v.TrialsOf(job.GetId())
	}
	for _, t := range running {
		if p := a.deps.Board.Progress(t.GetId(), t.GetGeneration()); p != nil {
			w.Progress = append(w.Progress, p)
		}
	}
	return w
}

// WatchJob implements JobService.
func (a jobs) WatchJob(ctx context.Context, req *connect.Request[tandemv1.WatchJobRequest], stream *connect.ServerStream[tandemv1.WatchJobResponse]) error {
	v, err := a.view(ctx)
	if err != nil {
		return err
	}
	job, err := v.ResolveJob(req.Msg.GetId())
	if err != nil {
		return err
	}
	var last *tandemv1.WatchJobResponse
	for {
		progressed := a.deps.Board.Changed()
		now := a.observe(v, job)
		if last == nil || !sameObservation(last, now) {
			if err := stream.Send(now); err != nil {
				return err
			}
			last = now
		}
		if state.JobFinal(job.GetState()) {
			return nil
		}
		if v, err = a.next(ctx, v, progressed); err != nil {
			return err
		}
		if job, _ = v.Job(job.GetId()); job == nil {
			return fmt.Errorf("job %s: %w", req.Msg.GetId(), state.ErrNotFound)
		}
	}
}

// next waits until the state is newer than v or progress came, and returns the state then.
func (a *API) next(ctx context.Context, v *state.View, progressed <-chan struct{}) (*state.View, error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	stateChanged := make(chan error, 1)
	go func() { stateChanged <- a.deps.State.Wait(waiting, v.Index()) }()
	select {
	case err := <-stateChanged:
		if err != nil {
			return nil, err
		}
	case <-progressed:
	}
	return a.now(ctx), nil
}

// sameObservation compares rows by the index of their last change, and progress by identity: a row is never changed
// in place. Why a job waits may change without its row.
func sameObservation(a, b *tandemv1.WatchJobResponse) bool {
	return a.GetJob().GetModifiedIndex() == b.GetJob().GetModifiedIndex() && proto.Equal(a.GetJob().GetWhy(), b.GetJob().GetWhy()) &&
		slices.EqualFunc(a.GetTrials(), b.GetTrials(), func(x, y *tandemv1.Trial) bool { return x.GetModifiedIndex() == y.GetModifiedIndex() }) &&
		slices.Equal(a.GetProgress(), b.GetProgress())
}
