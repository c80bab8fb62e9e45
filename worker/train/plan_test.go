package train

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/dataset"
	"tandem.dev/worker/data"
)

func classes(rows int64) dataset.Manifest {
	return dataset.Manifest{Task: dataset.TaskClassification, NumClasses: 3, Splits: []dataset.Split{{Name: data.Train, Rows: rows}}}
}

func sgd(lr float64) *tandemv1.OptimizerSpec {
	return &tandemv1.OptimizerSpec{Name: "sgd", Lr: lr, WeightDecay: proto.Float64(0)}
}

func TestPlanRefuses(t *testing.T) {
	good := func() *tandemv1.JobSpec {
		return &tandemv1.JobSpec{Training: &tandemv1.TrainingSpec{Batch: 4, Epochs: 1, Optimizer: sgd(0.1)}}
	}
	if _, err := NewPlan(good(), classes(10)); err != nil {
		t.Fatalf("the good spec: %v", err)
	}
	for want, change := range map[string]func(*tandemv1.JobSpec){
		"training.batch is 11":         func(s *tandemv1.JobSpec) { s.Training.Batch = 11 },
		"training.batch is 0":          func(s *tandemv1.JobSpec) { s.Training.Batch = 0 },
		"exactly one":                  func(s *tandemv1.JobSpec) { s.Training.Steps = 5 },
		"training.loss is mse":         func(s *tandemv1.JobSpec) { s.Training.Loss = "mse" },
		`training.loss is "hinge"`:     func(s *tandemv1.JobSpec) { s.Training.Loss = "hinge" },
		`metric is "mae"`:              func(s *tandemv1.JobSpec) { s.Metric = "mae" },
		`mode is "up"`:                 func(s *tandemv1.JobSpec) { s.Mode = "up" },
		`schedule.name is "step"`:      func(s *tandemv1.JobSpec) { s.Training.Schedule = &tandemv1.ScheduleSpec{Name: "step"} },
		"training.optimizer.lr is -1":  func(s *tandemv1.JobSpec) { s.Training.Optimizer = sgd(-1) },
		"final_ratio 2":                func(s *tandemv1.JobSpec) { s.Training.Schedule = &tandemv1.ScheduleSpec{FinalRatio: 2} },
		"lr is 0":                      func(s *tandemv1.JobSpec) { s.Training.Optimizer.Lr = 0 },
		`"" is not complete`:           func(s *tandemv1.JobSpec) { s.Training.Optimizer = nil },
		`"sgd" is not complete`:        func(s *tandemv1.JobSpec) { s.Training.Optimizer.WeightDecay = nil },
		`"adamw" is not complete`:      func(s *tandemv1.JobSpec) { s.Training.Optimizer.Name = "adamw" },
		"training.optimizer.lr is NaN": func(s *tandemv1.JobSpec) { s.Training.Optimizer = sgd(math.NaN()) },
	} {
		s := good()
		change(s)
		_, err := NewPlan(s, classes(10))
		if err == nil || !IsPermanent(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("want a permanent error with %q, got %v", want, err)
		}
	}
}

func TestPlanDefaults(t *testing.T) {
	p, err := NewPlan(&tandemv1.JobSpec{Training: &tandemv1.TrainingSpec{Batch: 4, Epochs: 3, Optimizer: sgd(0.1)}}, classes(10))
	if err != nil {
		t.Fatal(err)
	}
	if p.Total != 9 || p.Loss != CrossEntropy || p.Order != (ckpt.Order{Metric: "accuracy", Maximize: true}) || p.EvaluateBatch != 4 || p.MicroBatches != 1 {
		t.Errorf("classification: %+v", p)
	}
	p, err = NewPlan(&tandemv1.JobSpec{Training: &tandemv1.TrainingSpec{Batch: 4, Steps: 7, Optimizer: sgd(0.1)}}, dataset.Manifest{
		Task: dataset.TaskRegression, Splits: []dataset.Split{{Name: data.Train, Rows: 10}}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Total != 7 || p.Loss != MSE || p.Order != (ckpt.Order{Metric: "loss"}) {
		t.Errorf("regression: %+v", p)
	}
}

func TestSchedule(t *testing.T) {
	s := Schedule{Peak: 2, Warmup: 4, Total: 12, Cosine: true, Final: 0.1}
	for step, want := range map[int64]float64{0: 0.5, 3: 2, 4: 2, 8: 2 * (0.1 + 0.9*0.5), 12: 0.2, 99: 0.2} {
		if got := s.At(step); math.Abs(got-want) > 1e-12 {
			t.Errorf("cosine at step %d is %v, want %v", step, got, want)
		}
	}
	if got := (Schedule{Peak: 2, Total: 12}).At(11); got != 2 {
		t.Errorf("constant is %v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Schedule{
			Peak: rapid.Float64Range(1e-6, 10).Draw(t, "peak"), Warmup: rapid.Int64Range(0, 50).Draw(t, "warmup"),
			Total: rapid.Int64Range(1, 100).Draw(t, "total"), Cosine: true, Final: rapid.Float64Range(0, 1).Draw(t, "final"),
		}
		for step := range s.Total - 1 {
			now, next := s.At(step), s.At(step+1)
			if now < 0 || now > s.Peak*(1+1e-12) {
				t.Fatalf("rate %v at step %d", now, step)
			}
			if step+1 < s.Warmup && next < now || step >= s.Warmup && next > now*(1+1e-12) {
				t.Fatalf("from %v to %v at step %d", now, next, step)
			}
		}
	})
}

func TestStepSeed(t *testing.T) {
	if got := StepSeed(0, 0, 0); got != 1279368494785126216 {
		t.Errorf("StepSeed(0, 0, 0) is %d: every checkpoint would go on with other dropout", got)
	}
	seen := map[int64]bool{}
	for seed := range int64(10) {
		for step := range int64(100) {
			for rank := range 4 {
				s := StepSeed(seed, step, rank)
				if s < 0 || seen[s] {
					t.Fatalf("seed %d, step %d, rank %d: %d is negative or was there", seed, step, rank, s)
				}
				seen[s] = true
			}
		}
	}
}

func TestPulseFindsItsBeat(t *testing.T) {
	const step = 3 * time.Millisecond
	now := time.Unix(0, 0)
	p := pace{every: 1, begin: now}
	var gap time.Duration
	last := now
	for s := int64(1); s <= 2000; s++ {
		now = now.Add(step)
		if p.due(s) {
			p.synced(s, p.propose(s, now), now)
			gap, last = now.Sub(last), now
		}
	}
	if gap < paceAim*9/10 || gap > paceAim*11/10 {
		t.Errorf("syncs are %v apart", gap)
	}
	if got := (&pace{every: 1000, begin: now}).propose(1000, now.Add(time.Hour)); got != 1 {
		t.Errorf("after an hour it proposes %d steps", got)
	}
}

func TestTotals(t *testing.T) {
	var sum Totals
	sum.Add(Totals{Rows: 3, LossSum: 1.5, Correct: 2, Elements: 6})
	sum.Add(Totals{Rows: 1, LossSum: 0.5, Correct: 1, Elements: 2})
	m := totalsOf(sum.vector()).Metrics(CrossEntropy)
	if m["loss"] != 0.5 || m["accuracy"] != 0.375 {
		t.Errorf("classification: %v", m)
	}
	m = Totals{Rows: 2, SquaredErrorSum: 8, AbsErrorSum: 6, Elements: 4}.Metrics(MSE)
	if m["loss"] != 2 || m["mse"] != 2 || m["mae"] != 1.5 {
		t.Errorf("regression: %v", m)
	}
}
