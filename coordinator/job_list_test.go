package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestPagesOfJobs: page by page every job is listed once, newest first, also while new ones come; and a name that several have is
// looked at, but not changed.
func TestPagesOfJobs(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	api := tandemv1connect.NewJobServiceClient(c, r.url())
	submit := func(name string) string {
		t.Helper()
		res, err := api.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{
			Name: name, Dataset: "toy", Model: &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{4}}}},
			Training: &tandemv1.TrainingSpec{Batch: 8, Epochs: 1},
		}}))
		if err != nil {
			t.Fatal(err)
		}
		return res.Msg.GetJob().GetId()
	}
	var want []string // newest first
	for i := range 7 {
		want = slices.Insert(want, 0, submit([]string{"odd", "even"}[i%2]))
	}
	list := func(req *tandemv1.ListJobsRequest, pages int) []string {
		t.Helper()
		var ids []string
		for range pages {
			res, err := api.ListJobs(t.Context(), connect.NewRequest(req))
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range res.Msg.GetJobs() {
				ids = append(ids, j.GetId())
			}
			if req.PageToken = res.Msg.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
			submit("later")
		}
		if req.GetPageToken() != "" {
			t.Errorf("there are more than %d pages", pages)
		}
		return ids
	}
	if got := list(&tandemv1.ListJobsRequest{Limit: 3}, 3); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := list(&tandemv1.ListJobsRequest{Limit: 3, Name: "even"}, 1); !slices.Equal(got, []string{want[1], want[3], want[5]}) {
		t.Errorf("even: %v of %v", got, want)
	}
	res, err := api.GetJob(t.Context(), connect.NewRequest(&tandemv1.GetJobRequest{Id: "even"}))
	if err != nil || res.Msg.GetJob().GetId() != want[1] || !slices.Equal(res.Msg.GetOthers(), []string{want[3], want[5]}) {
		t.Errorf("%v, %v", res, err)
	}
	_, err = api.SetJobIntent(t.Context(), connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: "even", Intent: tandemv1.JobIntent_JOB_INTENT_CANCEL}))
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("one of three was cancelled: %v", err)
	}
	for _, id := range want[3:] {
		if _, err = api.SetJobIntent(t.Context(), connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: id, Intent: tandemv1.JobIntent_JOB_INTENT_CANCEL})); err != nil {
			t.Fatal(err)
		}
	}
	changed, err := api.ScaleJob(t.Context(), connect.NewRequest(&tandemv1.ScaleJobRequest{Id: "even", Workers: 1}))
	if err != nil || changed.Msg.GetJob().GetId() != want[1] {
		t.Errorf("the only one that goes on: %v, %v", changed, err)
	}
	if status, body := do(t, c, "GET", fmt.Sprintf("%s/v1/jobs?name=even&limit=1", r.url()), ""); status != 200 || !strings.Contains(body, `"next_page_token":"jobs:0`) {
		t.Errorf("%d %s", status, body)
	}
}
