package coordinator

import (
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestLabelsAndPredecessors: jobs are found by their labels, who submitted them and when; labels and notes are changed, also once a job has
// ended; and a job names those that it comes after.
func TestLabelsAndPredecessors(t *testing.T) {
	r := startOne(t)
	r.awaitLevel(t, 2)
	c := r.admin(t)
	makeDataset(t, r, c)
	api := tandemv1connect.NewJobServiceClient(c, r.url())
	spec := func(name string, labels map[string]string, after ...string) *tandemv1.JobSpec {
		return &tandemv1.JobSpec{
			Name: name, Dataset: "toy", Model: &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{4}}}},
			Training: &tandemv1.TrainingSpec{Batch: 8, Epochs: 1}, Labels: labels, After: after,
		}
	}
	submit := func(s *tandemv1.JobSpec, dry bool) (*tandemv1.SubmitJobResponse, error) {
		res, err := api.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: s, DryRun: dry}))
		if err != nil {
			return nil, err
		}
		return res.Msg, nil
	}
	must := func(s *tandemv1.JobSpec) *tandemv1.Job {
		t.Helper()
		res, err := submit(s, false)
		if err != nil {
			t.Fatal(err)
		}
		return res.GetJob()
	}
	list := func(req *tandemv1.ListJobsRequest) (names []string) {
		t.Helper()
		res, err := api.ListJobs(t.Context(), connect.NewRequest(req))
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range res.Msg.GetJobs() {
			names = append(names, j.GetName())
		}
		return names
	}
	one := must(spec("one", map[string]string{"team": "vision", "stage": "try"}))
	two := must(spec("two", map[string]string{"team": "text"}, "one", one.GetId()))
	if len(two.GetAfter()) != 1 || two.GetAfter()[0].GetName() != "one" || two.GetReason() != "Waits until one is completed." {
		t.Errorf("two comes after: %v, %q", two.GetAfter(), two.GetReason())
	}
	if res, err := submit(spec("three", nil, "two", "one"), true); err != nil || res.GetOutlook().GetReason() != "Waits until two, one are completed." {
		t.Errorf("a dry run: %v, %v", res.GetOutlook(), err)
	}
	if _, err := submit(spec("three", nil, "one", "none"), false); err == nil || !strings.Contains(err.Error(), "after[1]: ") {
		t.Errorf("after a job that does not exist: %v", err)
	}
	for want, req := range map[string]*tandemv1.ListJobsRequest{
		"two one": {User: one.GetSubmittedBy()},
		"":        {User: "nobody"},
		"two":     {Labels: []string{"team=text"}},
		"one":     {Labels: []string{"team", "stage=try"}},
		" ":       {Labels: []string{"team=text", "stage"}},
		"  ":      {Since: timestamppb.New(two.GetCreatedAt().AsTime())},
	} {
		if got := list(req); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%v: %v, want %q", req, got, want)
		}
	}
	update := func(req *tandemv1.UpdateJobRequest) (*tandemv1.Job, error) {
		res, err := api.UpdateJob(t.Context(), connect.NewRequest(req))
		if err != nil {
			return nil, err
		}
		return res.Msg.GetJob(), nil
	}
	if _, err := api.SetJobIntent(t.Context(), connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: "one", Intent: tandemv1.JobIntent_JOB_INTENT_CANCEL})); err != nil {
		t.Fatal(err)
	}
	j, err := update(&tandemv1.UpdateJobRequest{Id: one.GetId(), Labels: map[string]string{"stage": "", "team": "vision-2"}, Note: proto.String("lr too high")})
	if err != nil || j.GetNote() != "lr too high" || len(j.GetLabels()) != 1 || j.GetLabels()["team"] != "vision-2" {
		t.Errorf("labelled: %v, %v", j, err)
	}
	if _, err := update(&tandemv1.UpdateJobRequest{Id: one.GetId(), Priority: proto.Int32(3)}); err == nil {
		t.Error("the priority of a job that has ended was changed")
	}
	if _, err := update(&tandemv1.UpdateJobRequest{Id: one.GetId(), Labels: map[string]string{"-": "x"}}); err == nil || !strings.Contains(err.Error(), "labels: key") {
		t.Errorf("a key that is none: %v", err)
	}
	if got, err := api.GetJob(t.Context(), connect.NewRequest(&tandemv1.GetJobRequest{Id: two.GetId()})); err != nil ||
		!strings.HasPrefix(got.Msg.GetJob().GetReason(), "Job one, which it comes after, was cancelled: it cannot begin") {
		t.Errorf("two: %v, %v", got, err)
	}
	if _, err := submit(spec("four", nil, one.GetId()), false); err == nil || !strings.Contains(err.Error(), "was cancelled") {
		t.Errorf("after a job that was cancelled: %v", err)
	}
}

// TestPoolsOverTheAPI: pools are made, changed and listed, and what is wrong with a policy is said.
func TestPoolsOverTheAPI(t *testing.T) {
	r := startOne(t)
	r.awaitLevel(t, 2)
	nodes := tandemv1connect.NewNodeServiceClient(r.admin(t), r.url())
	create := func(p *tandemv1.PoolPolicy) error {
		_, err := nodes.CreatePool(t.Context(), connect.NewRequest(&tandemv1.CreatePoolRequest{Policy: p}))
		return err
	}
	if err := create(&tandemv1.PoolPolicy{Name: "gpu", RackLabel: "rack"}); err != nil {
		t.Fatal(err)
	}
	for want, p := range map[string]*tandemv1.PoolPolicy{
		"already exists": {Name: "gpu"}, "name: ": {}, "placement: ": {Name: "x", Placement: "pile"}, "order: ": {Name: "x", Order: "lifo"},
		"rack_label: ": {Name: "x", RackLabel: "a b"},
	} {
		if err := create(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", p, err, want)
		}
	}
	set, err := nodes.SetPool(t.Context(), connect.NewRequest(&tandemv1.SetPoolRequest{Name: "gpu", Placement: proto.String("spread")}))
	if err != nil || set.Msg.GetPolicy().GetPlacement() != "spread" || set.Msg.GetPolicy().GetRackLabel() != "rack" {
		t.Errorf("%v, %v", set, err)
	}
	list, err := nodes.ListPools(t.Context(), connect.NewRequest(&tandemv1.ListPoolsRequest{}))
	if err != nil || len(list.Msg.GetPools()) != 1 || list.Msg.GetPools()[0].GetPolicy().GetOrder() != "fifo" {
		t.Errorf("%v, %v", list, err)
	}
}
