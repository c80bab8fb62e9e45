package agent

import (
	"strings"
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/relay"
)

// TestEnginesUseTheirOwnPartOfTheStore: for each kind of task what it may do, and that it may do nothing else.
func TestEnginesUseTheirOwnPartOfTheStore(t *testing.T) {
	sha := strings.Repeat("a", 64)
	spec := &tandemv1.JobSpec{Model: &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Torchscript{Torchscript: &tandemv1.TorchScriptSpec{Artifact: sha}}}}
	train := &tandemv1.TrainTask{
		TrialId: "trial-1", Spec: spec, DatasetPrefix: "datasets/data-1", CheckpointPrefix: "trials/trial-1/ckpt",
		Resume: &tandemv1.Checkpoint{Prefix: "trials/trial-7/ckpt/000000000010-g1"},
	}
	replay := &tandemv1.TrainTask{
		TrialId: "trial-2", Spec: &tandemv1.JobSpec{}, DatasetPrefix: "datasets/data-1", CheckpointPrefix: "trials/trial-2/ckpt",
		Replay: &tandemv1.ReplayTask{TrialId: "trial-1"}, Resume: &tandemv1.Checkpoint{Prefix: "trials/trial-1/ckpt/5-g1"},
	}
	publish := &tandemv1.PublishTask{
		Incumbents: []*tandemv1.Incumbent{{VersionId: "ver-0", Prefix: "models/ver-0"}},
		TrialId:    "trial-1", Spec: spec, DatasetPrefix: "datasets/data-1", VersionPrefix: "models/ver-1",
		Checkpoint: &tandemv1.Checkpoint{Prefix: "trials/trial-1/ckpt/5-g1"},
	}
	serve := &tandemv1.ServeTask{VersionPrefix: "models/ver-1"}
	tasks := map[string]*tandemv1.EngineTask{
		"train": {Task: &tandemv1.EngineTask_Train{Train: train}}, "replay": {Task: &tandemv1.EngineTask_Train{Train: replay}},
		"publish": {Task: &tandemv1.EngineTask_Publish{Publish: publish}}, "serve": {Task: &tandemv1.EngineTask_Serve{Serve: serve}}, "none": {},
	}
	// Each line: a key, and which tasks may do what with it: g(et), p(ut), l(ist), d(elete).
	for _, line := range []string{
		"datasets/data-1/manifest.json train:g replay:g publish:g",
		"datasets/data-10/manifest.json",
		"datasets/data-1",
		"artifacts/" + sha + " train:g publish:g",
		"artifacts/" + strings.Repeat("b", 64),
		"artifacts/",
		"trials/trial-1/ckpt/5-g1/manifest.json train:gpld replay:gl publish:gl",
		"trials/trial-1/ckpt/probe train:gpld replay:gl",
		"trials/trial-1/metrics/steps/1 train:p replay:gl publish:p",
		"trials/trial-1/logs/1 replay:gl",
		"trials/trial-10/ckpt/5-g1/manifest.json",
		"trials/trial-2/ckpt/5-g1/manifest.json replay:l",
		"trials/trial-7/ckpt/000000000010-g1/manifest.json train:gl",
		"trials/trial-7/ckpt/000000000020-g1/manifest.json",
		"models/ver-1/model.pt publish:gpl serve:g",
		"models/ver-0/model.pt publish:g",
		"models/ver-2/model.pt",
		"",
		"/",
	} {
		key, grants, _ := strings.Cut(line, " ")
		want := map[string]string{}
		for g := range strings.FieldsSeq(grants) {
			name, ops, _ := strings.Cut(g, ":")
			want[name] = ops
		}
		for name, task := range tasks {
			got := ""
			for _, op := range []relay.Op{relay.Get, relay.Put, relay.List, relay.Delete} {
				if mayUse(task, op, key) == nil {
					got += string(op[0])
				}
			}
			if got != want[name] {
				t.Errorf("%s may do %q with %s, want %q", name, got, key, want[name])
			}
		}
	}
}
