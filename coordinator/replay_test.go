package coordinator

import (
	"bytes"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage/metric"
)

// TestReplay: a job of kind replay has the spec of the training whose checkpoint it names, and is refused where nothing can be compared.
func TestReplay(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	jobs := tandemv1connect.NewJobServiceClient(c, r.url())
	a := newAgent(t, r)
	s := a.session(t.Context(), a.node(2))
	train := func(total int64) *tandemv1.TrainTask {
		if _, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec()})); err != nil {
			t.Fatal(err)
		}
		tasks := a.await(s, 2)
		for _, task := range tasks {
			a.report(&tandemv1.EngineReport{EngineId: task.GetId(), Generation: 1, Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: total}}})
		}
		a.awaitGroup(s, 1)
		a.checkpoint(r, tasks[0])
		for _, task := range tasks {
			a.report(&tandemv1.EngineReport{EngineId: task.GetId(), Generation: 1, Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}})
		}
		a.await(s, 0)
		return tasks[0].GetTrain()
	}
	checkpointOf := func(job string) string {
		list, err := tandemv1connect.NewCheckpointServiceClient(c, r.url()).ListCheckpoints(t.Context(), connect.NewRequest(&tandemv1.ListCheckpointsRequest{JobId: job}))
		if err != nil || len(list.Msg.GetCheckpoints()) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		return list.Msg.GetCheckpoints()[0].GetId()
	}
	replay := func(checkpoint string) (*tandemv1.Job, error) {
		res, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{
			Name: "again", Kind: "replay", Replay: &tandemv1.ReplaySpec{CheckpointId: checkpoint, Steps: 20},
		}}))
		if err != nil {
			return nil, err
		}
		return res.Msg.GetJob(), nil
	}

	ended := train(5) // the checkpoint is that of step 5
	_, err := replay(checkpointOf(ended.GetJobId()))
	wantCode(t, err, connect.CodeFailedPrecondition, "last step (5)")
	_, err = replay("ckpt-none")
	wantCode(t, err, connect.CodeInvalidArgument, "replay.checkpoint_id")
	trained := train(10)
	id := checkpointOf(trained.GetJobId())
	_, err = replay(id)
	wantCode(t, err, connect.CodeFailedPrecondition, "no figures of steps")

	segment := metric.Segment{
		Header: metric.Header{Kind: metric.Steps, Trial: trained.GetTrialId(), Member: "m", Generation: 1, World: 2, Begin: time.Now().UnixNano()},
		Runs:   []metric.Run{{First: 6, Loss: metric.Floats{1}, Norm: metric.Floats{1}}},
	}
	b, err := metric.Encode(segment)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store.Put(t.Context(), metric.Key(segment.Header), bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	job, err := replay(id)
	if err != nil {
		t.Fatal(err)
	}
	spec := job.GetSpec()
	if w := spec.GetResources(); job.GetKind() != tandemv1.JobKind_JOB_KIND_REPLAY || w.GetWorkers() != 2 || w.GetMin() != 2 || w.GetMax() != 2 || spec.GetReplay().GetCheckpointId() != id ||
		!proto.Equal(spec.GetTraining(), trained.GetSpec().GetTraining()) || !proto.Equal(spec.GetModel(), trained.GetSpec().GetModel()) || spec.GetDatasetId() != trained.GetSpec().GetDatasetId() {
		t.Errorf("the replay is %v", job)
	}
	task := a.await(s, 2)[0].GetTrain()
	if task.GetResume().GetId() != id || task.GetReplay().GetTrialId() != trained.GetTrialId() || task.GetReplay().GetSpecHash() != trained.GetSpecHash() || task.GetTrialId() == trained.GetTrialId() {
		t.Errorf("the task is %v", task)
	}
}
