package analysis

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

const lr, batch = "training.optimizer.lr", "training.batch"

// sweepJob searches a learning rate and a batch size for the least loss.
func sweepJob() *tandemv1.Job {
	return &tandemv1.Job{Id: "job-1", Spec: &tandemv1.JobSpec{
		Metric: "loss", Mode: "min",
		Search: &tandemv1.SearchSpec{
			Method: &tandemv1.MethodSpec{Name: "random"}, MaxTrials: 20, MaxConcurrentTrials: 2, Seed: 3,
			Space: map[string]*tandemv1.Domain{lr: {Log: []float64{1e-4, 1}}, batch: {Int: []int64{1, 100}}},
		},
	}}
}

// trialOf is a trial of 100 steps that was measured each 25, or at fewer places.
func trialOf(n int32, rate float64, size int, losses ...float64) *tandemv1.Trial {
	p, err := structpb.NewStruct(map[string]any{lr: rate, batch: size})
	if err != nil {
		panic(err) // a mistake in a test
	}
	t := &tandemv1.Trial{Id: fmt.Sprintf("trial-%d", n), Number: n, TotalSteps: 100, Parameters: p}
	for i, v := range losses {
		t.Evaluations = append(t.Evaluations, &tandemv1.Evaluation{Step: int64(25 * (i + 1)), Metrics: map[string]float64{"loss": v, "accuracy": 1}})
	}
	return t
}

func TestCurves(t *testing.T) {
	job := sweepJob()
	trials := []*tandemv1.Trial{
		trialOf(1, 0.1, 1), // never measured
		trialOf(2, 0.1, 2, 4, 3, math.NaN(), 3.5),
		trialOf(3, 0.1, 3, 9),
		trialOf(4, 0.1, 4),
		trialOf(5, 0.1, 5, 2, 1),
		trialOf(6, 0.1, 6, 1),
	}
	point := func(step int64, value float64) *tandemv1.CurvePoint {
		return &tandemv1.CurvePoint{Step: step, Share: float64(step) / 100, Value: value}
	}
	want := &tandemv1.GetCurvesResponse{
		Sweep: "job-1", Metric: "loss", Mode: "min",
		Curves: []*tandemv1.Curve{
			{Trial: 5, Points: []*tandemv1.CurvePoint{point(25, 2), point(50, 1)}, BestValue: 1, BestStep: 50},
			{Trial: 6, Points: []*tandemv1.CurvePoint{point(25, 1)}, BestValue: 1, BestStep: 25}, // as good, and later
			{Trial: 2, Points: []*tandemv1.CurvePoint{point(25, 4), point(50, 3), point(100, 3.5)}, BestValue: 3, BestStep: 50},
			{Trial: 3, Points: []*tandemv1.CurvePoint{point(25, 9)}, BestValue: 9, BestStep: 25},
		},
		Course: []*tandemv1.CoursePoint{{Trial: 2, Value: 3}, {Trial: 3, Value: 3}, {Trial: 4, Value: 3}, {Trial: 5, Value: 1}, {Trial: 6, Value: 1}},
	}
	if diff := cmp.Diff(want, Curves(job, trials, 0), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	all := want.GetCurves()
	want.Curves = all[:2]
	if diff := cmp.Diff(want, Curves(job, trials, 2), protocmp.Transform()); diff != "" {
		t.Errorf("the best two (-want +got):\n%s", diff)
	}
	job.Spec.Mode = "max"
	if got := Curves(job, trials, 1); len(got.GetCurves()) != 1 || got.GetCurves()[0].GetTrial() != 3 || got.GetCourse()[4].GetValue() != 9 {
		t.Errorf("where more is better: %v", got)
	}
	if got := Curves(sweepJob(), nil, 0); len(got.GetCurves()) != 0 || len(got.GetCourse()) != 0 {
		t.Errorf("without trials: %v", got)
	}
}

// TestReplay: four trials of which the best shows at the first rung, by a method that lets half go on.
func TestReplay(t *testing.T) {
	job := sweepJob()
	trials := []*tandemv1.Trial{
		trialOf(1, 0.1, 1, 4, 4, 4, 4), trialOf(2, 0.1, 2, 3, 3, 3, 3), trialOf(3, 0.1, 3, 2, 2, 2, 2), trialOf(4, 0.1, 4, 1, 1, 1, 1),
	}
	methods := []*tandemv1.MethodSpec{{Name: "random"}, {Name: "asha", Divisor: 2, Rungs: 2}}
	res, err := Replay(job, trials, methods, 1)
	if err != nil {
		t.Fatal(err)
	}
	random, asha := res.GetMethods()[0], res.GetMethods()[1]
	if r := res.GetRecorded(); r.GetTrained() != 4 || r.GetBestTrial() != 4 || r.GetBestValue() != 1 || res.GetSlots() != 1 {
		t.Errorf("recorded: %v", res)
	}
	if random.GetTrained() != 4 || random.GetSavedShare() != 0 || random.GetMissed() || random.GetBestTrial() != 4 {
		t.Errorf("random: %v", random)
	}
	if asha.GetTrained() >= 4 || asha.GetSavedShare() <= 0 || asha.GetMissed() || asha.GetBestValue() != 1 || len(asha.GetStoppedTrials()) == 0 {
		t.Errorf("asha: %v", asha)
	}
	if again, err := Replay(job, trials, methods, 1); err != nil || cmp.Diff(res, again, protocmp.Transform()) != "" {
		t.Errorf("asked again it is not the same: %v", err)
	}
	if res, err := Replay(job, trials, methods, 0); err != nil || res.GetSlots() != 2 {
		t.Errorf("as many slots as then: %v, %v", res.GetSlots(), err)
	}
	var wrong *MethodError
	if _, err := Replay(job, trials, []*tandemv1.MethodSpec{{Name: "random"}, {Name: "zen"}}, 1); !errors.As(err, &wrong) || wrong.Index != 1 {
		t.Errorf("an unknown method: %v", err)
	}
	if _, err := Replay(job, []*tandemv1.Trial{trialOf(1, 0.1, 1)}, methods, 1); !errors.Is(err, ErrUnanswerable) {
		t.Errorf("nothing measured: %v", err)
	}
	trials[2].StartCheckpointId = "ckpt-1"
	if _, err := Replay(job, trials, methods, 1); !errors.Is(err, ErrUnanswerable) || !strings.Contains(err.Error(), "trial 3 began from a checkpoint") {
		t.Errorf("a trial that began from another's: %v", err)
	}
}

// TestImportance: all depends on the learning rate, nothing on the batch.
func TestImportance(t *testing.T) {
	job := sweepJob()
	var trials []*tandemv1.Trial
	for i := range 40 {
		rate := math.Pow(10, -4+4*float64(i)/39)
		trials = append(trials, trialOf(int32(i+1), rate, 1+(i*37)%100, math.Abs(math.Log10(rate)+2)))
	}
	res, err := Importance(job, trials)
	if err != nil {
		t.Fatal(err)
	}
	list := res.GetImportance()
	if len(list) != 2 || list[0].GetParameter() != lr || list[0].GetShare() < 0.8 || math.Abs(list[0].GetShare()+list[1].GetShare()-1) > 1e-9 {
		t.Errorf("importance: %v", res)
	}
	if _, err := Importance(job, trials[:5]); !errors.Is(err, ErrUnanswerable) || !strings.Contains(err.Error(), "at least 10 trials") {
		t.Errorf("of five trials: %v", err)
	}
}

func TestPrior(t *testing.T) {
	job := sweepJob()
	trials := []*tandemv1.Trial{
		trialOf(1, 0.1, 1, 4, 3, 3, 2), trialOf(2, 0.1, 2), trialOf(3, 7, 3, 1, 1, 1, 1), // beyond the new space
	}
	prior, made, err := Prior(job.GetSpec(), job, trials)
	want := []*tandemv1.PriorTrial{{Parameters: trials[0].GetParameters(), Value: 2, Share: 1}}
	if diff := cmp.Diff(want, prior, protocmp.Transform()); err != nil || made != 3 || diff != "" {
		t.Errorf("%d trials, %v (-want +got):\n%s", made, err, diff)
	}
	for name, c := range map[string]struct {
		change func(*tandemv1.JobSpec)
		trials []*tandemv1.Trial
		want   string
	}{
		"a grid":          {func(s *tandemv1.JobSpec) { s.Search.Method.Name = "grid" }, trials, "a grid does not learn"},
		"another metric":  {func(s *tandemv1.JobSpec) { s.Metric = "bleu" }, trials, "has a value of bleu"},
		"another space":   {func(*tandemv1.JobSpec) {}, trials[2:], "fits this search"},
		"no trial at all": {func(*tandemv1.JobSpec) {}, nil, "none of the 0 trials"},
	} {
		s := sweepJob().GetSpec()
		c.change(s)
		if _, _, err := Prior(s, job, c.trials); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
