package coordinator

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// checkDelete deletes a job that has ended, and looks at what is left of it.
func checkDelete(t *testing.T, r *running, c *http.Client, job, trial string) {
	t.Helper()
	jobs := tandemv1connect.NewJobServiceClient(c, r.url())
	open, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec()}))
	if err != nil {
		t.Fatal(err)
	}
	// The newest of the name has not ended, and is the one that is meant.
	_, err = jobs.DeleteJob(t.Context(), connect.NewRequest(&tandemv1.DeleteJobRequest{Id: "toy"}))
	wantCode(t, err, connect.CodeFailedPrecondition, "job "+open.Msg.GetJob().GetId()+" has not ended")
	checkPrune(t, jobs, job)
	checkPruneLogs(t, jobs, job)
	if res, err := jobs.DeleteJob(t.Context(), connect.NewRequest(&tandemv1.DeleteJobRequest{Id: job, RequestId: "delete"})); err != nil || res.Msg.GetJob().GetName() != "toy" {
		t.Errorf("the job was not deleted: %v, %v", res, err)
	}
	if res, err := jobs.DeleteJob(t.Context(), connect.NewRequest(&tandemv1.DeleteJobRequest{Id: job, RequestId: "delete"})); err != nil || res.Msg.GetJob() != nil {
		t.Errorf("the same request again was answered with %v, %v", res, err)
	}
	_, err = jobs.DeleteJob(t.Context(), connect.NewRequest(&tandemv1.DeleteJobRequest{Id: job}))
	wantCode(t, err, connect.CodeNotFound, job)
	list, err := jobs.ListJobs(t.Context(), connect.NewRequest(&tandemv1.ListJobsRequest{}))
	if err != nil || len(list.Msg.GetJobs()) != 1 {
		t.Errorf("there are the jobs %v, %v", list, err)
	}
	events, err := tandemv1connect.NewEventServiceClient(c, r.url()).ListEvents(t.Context(), connect.NewRequest(&tandemv1.ListEventsRequest{Limit: 1}))
	if err != nil || !strings.Contains(events.Msg.GetEvents()[0].GetMessage(), "Job toy was deleted by admin.") {
		t.Errorf("the newest event is %v, %v", events, err)
	}
	checkDeleteDataset(t, r, c, open.Msg.GetJob().GetId())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for v := r.state.View(); ; v = r.state.View() {
		if g, ok := v.GarbageAt("trials/" + trial + "/"); ok && g.GetEmptied() {
			break
		}
		if err := r.state.Wait(ctx, v.Index()); err != nil {
			t.Fatalf("the objects of the job were not deleted: %v", v.Garbage())
		}
	}
	for info := range r.store.List(t.Context(), "trials/"+trial+"/") {
		t.Errorf("%s is left of the job", info.Key)
	}
}

// checkDeleteDataset deletes the dataset that a job uses, as soon as that has ended.
func checkDeleteDataset(t *testing.T, r *running, c *http.Client, job string) {
	t.Helper()
	jobs, datasets := tandemv1connect.NewJobServiceClient(c, r.url()), tandemv1connect.NewDatasetServiceClient(c, r.url())
	remove := &tandemv1.DeleteDatasetRequest{Dataset: "toy", RequestId: "dataset"}
	_, err := datasets.DeleteDataset(t.Context(), connect.NewRequest(remove))
	wantCode(t, err, connect.CodeFailedPrecondition, "dataset toy@1 cannot be deleted: job "+job+" uses it")
	_, err = datasets.DeleteDataset(t.Context(), connect.NewRequest(&tandemv1.DeleteDatasetRequest{Dataset: "toy@2"}))
	wantCode(t, err, connect.CodeNotFound, "version 2")
	_, err = tandemv1connect.NewModelServiceClient(c, r.url()).DeleteModel(t.Context(), connect.NewRequest(&tandemv1.DeleteModelRequest{Model: "nothing"}))
	wantCode(t, err, connect.CodeNotFound, "nothing")
	if _, err := jobs.SetJobIntent(t.Context(), connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: job, Intent: tandemv1.JobIntent_JOB_INTENT_CANCEL})); err != nil {
		t.Fatal(err)
	}
	remove.RequestId = "dataset again"
	res, err := datasets.DeleteDataset(t.Context(), connect.NewRequest(remove))
	if err != nil || len(res.Msg.GetDatasets()) != 1 {
		t.Fatalf("the dataset was not deleted: %v, %v", res, err)
	}
	if again, err := datasets.DeleteDataset(t.Context(), connect.NewRequest(remove)); err != nil || len(again.Msg.GetDatasets()) != 0 {
		t.Errorf("the same request again was answered with %v, %v", again, err)
	}
	_, err = upload(t, tandemv1connect.NewArtifactServiceClient(c, r.url()), &tandemv1.UploadArtifactHeader{
		DatasetId: res.Msg.GetDatasets()[0].GetId(), Name: "manifest.json", Size: 1, Sha256: sum([]byte("x")),
	}, []byte("x"))
	wantCode(t, err, connect.CodeFailedPrecondition, "was deleted")
}

// checkPruneLogs deletes the log of a job, which says so to whoever wants to read it, and is not deleted twice.
func checkPruneLogs(t *testing.T, jobs tandemv1connect.JobServiceClient, job string) {
	t.Helper()
	for n, want := range []int{1, 1, 0} {
		req := &tandemv1.PruneJobsRequest{OlderThan: &durationpb.Duration{}, LogsOnly: true, DryRun: n == 0}
		res, err := jobs.PruneJobs(t.Context(), connect.NewRequest(req))
		if err != nil || len(res.Msg.GetJobs()) != want || want > 0 && res.Msg.GetJobs()[0].GetId() != job {
			t.Fatalf("logs, call %d: %v, %v", n, res, err)
		}
		logs, err := jobs.StreamLogs(t.Context(), connect.NewRequest(&tandemv1.StreamLogsRequest{Id: job}))
		if err != nil {
			t.Fatal(err)
		}
		if first := logs.Receive(); n > 0 && (!first || logs.Msg().GetDeletedAt() == nil || logs.Msg().GetKeptFor() == nil || logs.Msg().GetLine() != "") {
			t.Errorf("the log begins with %v", logs.Msg())
		}
		_ = logs.Close()
	}
	if res, err := jobs.GetJob(t.Context(), connect.NewRequest(&tandemv1.GetJobRequest{Id: job})); err != nil || res.Msg.GetJob().GetLogsDeletedAt() == nil {
		t.Errorf("the job is %v, %v", res, err)
	}
}

// checkPrune looks for old jobs where one has ended just now.
func checkPrune(t *testing.T, jobs tandemv1connect.JobServiceClient, job string) {
	t.Helper()
	_, err := jobs.PruneJobs(t.Context(), connect.NewRequest(&tandemv1.PruneJobsRequest{}))
	wantCode(t, err, connect.CodeInvalidArgument, "older_than")
	_, err = jobs.PruneJobs(t.Context(), connect.NewRequest(&tandemv1.PruneJobsRequest{
		OlderThan: &durationpb.Duration{}, States: []tandemv1.JobState{tandemv1.JobState_JOB_STATE_RUNNING},
	}))
	wantCode(t, err, connect.CodeInvalidArgument, "only what has ended")
	for _, c := range []struct {
		age  time.Duration
		want int
	}{{time.Hour, 0}, {0, 1}} {
		res, err := jobs.PruneJobs(t.Context(), connect.NewRequest(&tandemv1.PruneJobsRequest{OlderThan: durationpb.New(c.age), DryRun: true}))
		if err != nil || len(res.Msg.GetJobs()) != c.want {
			t.Fatalf("older than %v: %v, %v", c.age, res, err)
		}
		for _, p := range res.Msg.GetJobs() {
			if p.GetId() != job || p.GetKeep() || p.GetTrials() != 1 || p.GetCheckpoints() != 1 || p.GetBytes() == 0 {
				t.Errorf("what would go is %v", p)
			}
		}
	}
}
