package spec

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

const searched = `{"name":"s","kind":"sweep","dataset":"digits","model":{"mlp":{"hidden":[64]}},"training":{"epochs":20},"search":{"maxTrials":24,"space":{
	"training.batch":{"int":[16,64],"step":16},"training.optimizer.name":{"choice":["sgd","adamw"]},"training.optimizer.lr":{"log":[0.0001,0.1]},
	"training.optimizer.momentum":{"double":[0,0.9],"when":{"training.optimizer.name":["sgd"]}},
	"model.mlp.hidden":{"choice":[[32],[64,64]]}}}}`

func TestSweepDefaults(t *testing.T) {
	in := parse(t, searched)
	before := proto.Clone(in)
	got, err := Complete(in, find)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(in, before) {
		t.Error("the caller's spec was changed")
	}
	// What depends on the name of the optimizer and on the batch is left to each trial.
	want := parse(t, `{"name":"s","kind":"sweep","dataset":"digits@2","datasetId":"data-1","model":{"mlp":{"hidden":[64],"activation":"relu"}},
		"training":{"epochs":20,"loss":"cross_entropy","microBatches":1,"optimizer":{},"schedule":{"name":"constant"}},
		"resources":{"workers":1,"min":1,"max":1,"pool":"default"},"evaluate":{},"checkpoint":{"keep":{"best":1,"latest":1}},"metric":"accuracy","mode":"max","tieBreaker":"loss","maxRestarts":3,
		"search":{"method":{"name":"asha","sampler":"random","divisor":4,"rungs":4,"variant":"promote"},"maxTrials":24,"maxConcurrentTrials":4,"maxFailedTrials":4}}`)
	want.Search.Space = parse(t, searched).GetSearch().GetSpace()
	if !proto.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", protojson.Format(got), protojson.Format(want))
	}
	again, err := Complete(got, find)
	if err != nil || !proto.Equal(again, got) {
		t.Errorf("completing twice is not completing once: %v, %v", again, err)
	}
	notes := strings.Join(Describe(got), " ")
	if notes != "The space has 5 hyper-parameters; its points are without number. At most 24 trials are made by asha (points from random; 4 rungs, 1 of 4 goes on), 4 at a time." {
		t.Error(notes)
	}
	for name, tc := range map[string]struct {
		point map[string]any
		check func(*tandemv1.JobSpec) bool
	}{
		"sgd": {map[string]any{"training.optimizer.name": "sgd", "training.optimizer.momentum": 0.5, "training.batch": 32.0, "training.optimizer.lr": 0.1, "model.mlp.hidden": []any{64.0, 64.0}},
			func(s *tandemv1.JobSpec) bool {
				o := s.GetTraining().GetOptimizer()
				return o.GetMomentum() == 0.5 && o.GetBeta1() == 0 && o.GetWeightDecay() == 0 && s.GetEvaluate().GetBatch() == 32 && len(s.GetModel().GetMlp().GetHidden()) == 2
			}},
		"adamw": {map[string]any{"training.optimizer.name": "adamw", "training.batch": 48.0, "training.optimizer.lr": 0.01, "training.seed": 7.0},
			func(s *tandemv1.JobSpec) bool {
				o := s.GetTraining().GetOptimizer()
				return o.GetBeta1() == 0.9 && o.GetWeightDecay() == 0.01 && s.GetEvaluate().GetBatch() == 48 && s.GetTraining().GetSeed() == 7
			}},
	} {
		s, err := CompleteTrial(got, tc.point, 3, find)
		if err != nil || s.GetKind() != "train" || s.GetSearch() != nil || s.GetPublish() != nil || s.GetDatasetId() != "data-1" || !tc.check(s) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	seeds := map[int64]bool{}
	for n := range int32(100) {
		s, err := CompleteTrial(got, map[string]any{"training.batch": 16.0}, n, find)
		if err != nil {
			t.Fatal(err)
		}
		seeds[s.GetTraining().GetSeed()] = true
	}
	if len(seeds) != 100 {
		t.Errorf("100 trials have %d seeds", len(seeds))
	}
}

func TestSweepProblems(t *testing.T) {
	domain := func(place, text string) func(*tandemv1.JobSpec) {
		return func(s *tandemv1.JobSpec) {
			d := &tandemv1.Domain{}
			if err := protojson.Unmarshal([]byte(text), d); err != nil {
				t.Fatal(err)
			}
			s.Search.Space[place] = d
		}
	}
	for name, tc := range map[string]struct {
		change func(*tandemv1.JobSpec)
		want   string
	}{
		"no search":    {func(s *tandemv1.JobSpec) { s.Search = nil }, "search: is missing: say what to search, with space, method and max_trials"},
		"stray search": {func(s *tandemv1.JobSpec) { s.Kind, s.Training.Batch = "train", 8 }, `search: belongs to kind "sweep" only: add kind: sweep, or leave it out`},
		"no trials":    {func(s *tandemv1.JobSpec) { s.Search.MaxTrials = 0 }, "search.max_trials: is missing: say how many trials to make at most"},
		"many trials":  {func(s *tandemv1.JobSpec) { s.Search.MaxTrials = 100_001 }, "search.max_trials: must be at most 100000, and is 100001"},
		"many at once": {func(s *tandemv1.JobSpec) { s.Search.MaxConcurrentTrials = 1001 }, "search.max_concurrent_trials: must be at most 1000"},
		"no space":     {func(s *tandemv1.JobSpec) { s.Search.Space = nil }, "search.space: is empty: name at least one hyper-parameter to search"},
		"hours":        {func(s *tandemv1.JobSpec) { s.Search.GpuHours = -1 }, "search.gpu_hours: must be from 0 to 1e+09"},
		"deadline":     {func(s *tandemv1.JobSpec) { s.Search.Deadline = "tomorrow" }, `search.deadline: "tomorrow" must be a time from 1s to 87600h, such as "2h30m"`},
		"long":         {func(s *tandemv1.JobSpec) { s.Search.Deadline = "90000h" }, `search.deadline: "90000h" must be a time from 1s to 87600h`},
		"short":        {func(s *tandemv1.JobSpec) { s.Search.Deadline = "400ms" }, `search.deadline: "400ms" must be a time from 1s to 87600h`},
		"method":       {func(s *tandemv1.JobSpec) { s.Search.Method = &tandemv1.MethodSpec{Name: "luck"} }, `search.method.name: "luck" is none of random, grid, sobol, tpe, cmaes, asha, hyperband, bohb, pbt`},
		"population": {func(s *tandemv1.JobSpec) { s.Search.Method = &tandemv1.MethodSpec{Name: "pbt"} }, "search.space.model.mlp.hidden: cannot be searched by pbt, whose trials go on from each other's checkpoints: those fit one model, one batch and one optimizer; " +
			"search.space.training.batch: cannot"},
		"setting":       {func(s *tandemv1.JobSpec) { s.Search.Method = &tandemv1.MethodSpec{Name: "random", Population: 3} }, "search.method.population: does not belong to random; it is a setting of pbt"},
		"grid of reals": {func(s *tandemv1.JobSpec) { s.Search.Method = &tandemv1.MethodSpec{Name: "grid"} }, "search.space.training.optimizer.lr.count: is missing: a grid needs to know how many points to take; search.space.training.optimizer.momentum.count: is missing: a grid needs to know how many points to take"},
		"name":          {domain("name", `{"choice":["a"]}`), "search.space.name: cannot be searched: only what is in model and in training can"},
		"dataset":       {domain("dataset_id", `{"choice":["a"]}`), "search.space.dataset_id: cannot be searched: only what is in model and in training can"},
		"search":        {domain("search.seed", `{"int":[1,2]}`), "search.space.search.seed: cannot be searched: only what is in model and in training can"},
		"file":          {domain("model.torchscript.artifact", `{"choice":["a"]}`), "search.space.model.torchscript.artifact: cannot be searched: the file is the same for all trials"},
		"unknown":       {domain("training.optimiser.lr", `{"log":[0.1,1]}`), `search.space.training.optimiser.lr: there is no "optimiser" in training: it has batch, epochs, steps, loss, optimizer, schedule, clip_norm, seed, micro_batches`},
		"section":       {domain("training.schedule", `{"log":[0.1,1]}`), "search.space.training.schedule: is a section: name one of its keys, name, warmup_steps, final_ratio"},
		"no keys":       {domain("training.clip_norm.x", `{"log":[0.1,1]}`), "search.space.training.clip_norm.x: training.clip_norm has no keys of its own"},
		"other model":   {domain("model.cnn.dropout", `{"double":[0,0.5]}`), "search.space.model.cnn.dropout: the spec has mlp, which excludes cnn"},
		"real steps":    {domain("training.steps", `{"double":[0,0.5]}`), "search.space.training.steps: takes whole numbers: double and log do not fit"},
		"whole text":    {domain("training.schedule.name", `{"int":[0,5]}`), "search.space.training.schedule.name: takes text: int does not fit"},
		"list":          {domain("model.mlp.hidden", `{"int":[16,64]}`), "search.space.model.mlp.hidden: is a list: give a choice of lists, such as [[16, 32], [32, 64]]"},
		"wrong choice":  {domain("model.mlp.hidden", `{"choice":[[16],32]}`), "search.space.model.mlp.hidden: 32 is not a list"},
		"wrong const":   {domain("training.optimizer.nesterov", `{"const":1}`), "search.space.training.optimizer.nesterov: 1 is neither true nor false"},
		"large":         {domain("training.batch", `{"int":["1","4294967296"]}`), "search.space.training.batch: 4.294967296e+09 is not a whole number of at most 32 bits"},
		"zero":          {domain("training.optimizer.lr", `{"choice":[0,0.1]}`), "search.space: training.optimizer.lr: 0 cannot be searched, for it counts as left out: the default 0.001 takes its place"},
		"end": {func(s *tandemv1.JobSpec) {
			s.Search.Space = map[string]*tandemv1.Domain{"training.batch": {Int: []int64{16, 2000}}}
		}, "training.batch: 2000 is more than the 1437 rows of the training split of digits@2 (a trial with training.batch=2000)"},
		"corner": {func(s *tandemv1.JobSpec) {
			s.Search.Space = map[string]*tandemv1.Domain{"training.batch": {Const: structpb.NewNumberValue(8)}, "training.schedule.final_ratio": {Double: []float64{0, 0.5}}}
		}, "training.schedule.final_ratio: belongs to cosine, not to constant (a trial with training.batch=8, training.schedule.final_ratio=0.25)"},
		"training": {func(s *tandemv1.JobSpec) {
			s.Training.Epochs = 0
			s.Search.Space = map[string]*tandemv1.Domain{"training.batch": {Int: []int64{16, 20}}}
		}, "training: has neither epochs nor steps; give one of them (a trial with training.batch=16)"},
		"publish": {func(s *tandemv1.JobSpec) { s.Publish = &tandemv1.PublishSpec{Model: "A"} }, "publish.model: " + NameRule},
	} {
		t.Run(name, func(t *testing.T) {
			s := parse(t, searched)
			tc.change(s)
			_, err := Complete(s, find)
			var se *Error
			if !errors.As(err, &se) || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}
