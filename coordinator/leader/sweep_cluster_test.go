package leader

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/structpb"

	"tandem.dev/coordinator/board"
	"tandem.dev/coordinator/coordtest"
	"tandem.dev/coordinator/fsm/fsmtest"
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// totalSteps is how long the trainings of bench are.
const totalSteps = 16

// bench is a cluster of coordinators with all that places and searches, and one node whose engines a test plays.
type bench struct {
	t        *testing.T
	c        *coordtest.Cluster
	stops    map[int]func()
	reported int
	// fails and diverges say at which step of a trial that happens.
	fails, diverges map[int32]int64
}

// benchData is the dataset of all jobs of a bench.
func benchData(string) (*tandemv1.Dataset, error) {
	return &tandemv1.Dataset{
		Id: "data-1", Name: "d", Version: 1, Prefix: "p", Task: "regression", Shape: []int64{2}, Rows: map[string]int64{"train": 64, "validation": 8},
	}, nil
}

func newBench(t *testing.T, slots int) *bench {
	b := &bench{t: t, c: coordtest.New(t, 3), stops: map[int]func(){}, fails: map[int32]int64{}, diverges: map[int32]int64{}}
	for i := range b.c.Len() {
		b.lead(i)
	}
	n := fsmtest.Node("node-a", slots)
	data, _ := benchData("d")
	b.propose(&tandemv1.Command{Command: &tandemv1.Command_CreateDataset{CreateDataset: &tandemv1.CreateDataset{Dataset: data}}})
	b.propose(&tandemv1.Command{Command: &tandemv1.Command_RegisterNode{RegisterNode: &tandemv1.RegisterNode{Node: n}}})
	return b
}

// lead runs the loops of a peer.
func (b *bench) lead(i int) {
	s, n, log := b.c.State(i), b.c.Node(i), zerolog.Nop()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		loops := []Loop{Placement(s, board.New().Progress, n, log), Search(s, n, log)}
		if err := NewSupervisor(n, loops, log).Run(ctx); err != nil {
			b.t.Error(err)
		}
	}()
	b.stops[i] = func() { cancel(); <-done }
}

func (b *bench) stop() {
	for _, stop := range b.stops {
		stop()
	}
	b.c.Stop()
}

// loseLeader kills the leader; it comes back later.
func (b *bench) loseLeader() {
	i := b.c.Leader()
	b.c.Kill(i)
	b.stops[i]()
	time.AfterFunc(5*time.Second, func() {
		b.c.Start(i)
		b.lead(i)
	})
}

// propose proposes a command until it was applied, as agents and clients do.
func (b *bench) propose(cmd *tandemv1.Command) *tandemv1.Result {
	b.t.Helper()
	for range 1000 {
		for i := range b.c.Len() {
			if !b.c.Up(i) {
				continue
			}
			if res, err := b.c.Node(i).Propose(context.Background(), state.Clone(cmd)); err == nil {
				return res
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("nobody takes %v", cmd)
	return nil
}

// view is the state when nothing happens any more.
func (b *bench) view() *state.View {
	b.t.Helper()
	time.Sleep(4 * time.Second) // elections, and what loops put off
	synctest.Wait()
	i := b.c.Leader()
	v, err := b.c.Node(i).View(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *bench) submit(searched *tandemv1.JobSpec, row *tandemv1.Sweep) {
	b.t.Helper()
	full, err := spec.Complete(searched, benchData)
	if err != nil {
		b.t.Fatal(err)
	}
	row.MaxTrials = full.GetSearch().GetMaxTrials()
	res := b.propose(&tandemv1.Command{Command: &tandemv1.Command_CreateJob{CreateJob: &tandemv1.CreateJob{
		Job: &tandemv1.Job{Id: "job-1", Name: "s", Kind: tandemv1.JobKind_JOB_KIND_SWEEP, Spec: full}, Sweep: row,
	}}})
	if res.GetRefusal() != 0 {
		b.t.Fatal(res)
	}
}

// step lets the engine of the trial with the smallest number say the next thing; false when there is none. Reports come in the same
// order then, whatever happens to coordinators.
func (b *bench) step() bool {
	b.t.Helper()
	v := b.view()
	var task *tandemv1.EngineTask
	var trial *tandemv1.Trial
	for _, e := range state.Desired(v, "node-a") {
		id, _, _ := state.ParseEngineID(e.GetId())
		a, _ := v.Allocation(id)
		t, _ := v.Trial(a.GetTrialId())
		if task == nil || t.GetNumber() < trial.GetNumber() {
			task, trial = e, t
		}
	}
	if task == nil {
		return false
	}
	for _, r := range b.next(v, task, trial) {
		r.EngineId, r.Generation = task.GetId(), max(task.GetGeneration(), task.GetTrain().GetGroup().GetGeneration())
		cmd := &tandemv1.ApplyReports{NodeId: "node-a", Incarnation: 1, Reports: []*tandemv1.EngineReport{r}}
		if r.GetCheckpoint() != nil {
			cmd.Ids = []string{fmt.Sprintf("ckpt-%d-%d", trial.GetNumber(), r.GetCheckpoint().GetCheckpoint().GetStep())}
		}
		first := b.propose(&tandemv1.Command{Command: &tandemv1.Command_ApplyReports{ApplyReports: cmd}})
		again := b.propose(&tandemv1.Command{Command: &tandemv1.Command_ApplyReports{ApplyReports: cmd}}) // the answer was lost
		if first.GetPartWhys()[0].GetCode() != 0 || !cmp.Equal(first.GetSeqs(), again.GetSeqs()) {
			b.t.Errorf("%v: %v, then %v", r, first, again)
		}
	}
	b.reported++
	return true
}

// next is what an engine has to say.
func (b *bench) next(v *state.View, task *tandemv1.EngineTask, trial *tandemv1.Trial) []*tandemv1.EngineReport {
	train := task.GetTrain()
	ready := &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: totalSteps}}}
	finished := &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}}
	switch {
	case task.GetPublish() != nil:
		saved := &tandemv1.VersionSaved{VersionId: task.GetPublish().GetVersionId(), ManifestSha256: "m"}
		return []*tandemv1.EngineReport{ready, {Report: &tandemv1.EngineReport_Version{Version: saved}}, finished}
	case train.GetGroup() == nil && train.GetStopping():
		return []*tandemv1.EngineReport{{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{}}}}
	case train.GetGroup() == nil:
		return []*tandemv1.EngineReport{ready}
	}
	step := train.GetResume().GetStep()
	if n := len(trial.GetEvaluations()); n > 0 {
		step = max(step, trial.GetEvaluations()[n-1].GetStep())
	}
	end := int64(math.Ceil(train.GetUntil() * totalSteps))
	latest, _ := v.Checkpoint(trial.GetLatestCheckpointId())
	failed := &tandemv1.EngineFailed{Message: "no", Permanent: true, Diverged: step+1 == b.diverges[trial.GetNumber()]}
	loss := math.Abs(math.Log10(train.GetSpec().GetTraining().GetOptimizer().GetLr())+2) + 1/float64(step+1)
	switch {
	case failed.GetDiverged() || step+1 == b.fails[trial.GetNumber()]:
		return []*tandemv1.EngineReport{{Report: &tandemv1.EngineReport_Failed{Failed: failed}}}
	case step < end && !train.GetStopping():
		return []*tandemv1.EngineReport{{Report: &tandemv1.EngineReport_Evaluation{Evaluation: &tandemv1.Evaluation{Step: step + 1, Metrics: map[string]float64{"loss": loss}}}}}
	case latest.GetStep() < step && len(trial.GetEvaluations()) > 0:
		metrics := trial.GetEvaluations()[len(trial.GetEvaluations())-1].GetMetrics()
		return []*tandemv1.EngineReport{{Report: &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: &tandemv1.Checkpoint{
			TrialId: trial.GetId(), Step: step, Prefix: "p", ManifestSha256: "s", Metrics: metrics,
		}}}}}
	case step < end:
		return []*tandemv1.EngineReport{{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{Step: step}}}}
	case end < totalSteps:
		return []*tandemv1.EngineReport{{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{Step: step, Reached: true}}}}
	}
	return []*tandemv1.EngineReport{finished}
}

// story is what became of a sweep, without the ids and times that differ each time.
func story(v *state.View) []string {
	j, _ := v.Job("job-1")
	s, _ := v.Sweep("job-1")
	best, _ := v.Trial(s.GetBestTrialId())
	lines := []string{
		fmt.Sprintf("%v %s", j.GetState(), say.Reason(j.GetWhy(), say.CLI)),
		fmt.Sprintf("events %d trials %v made %d best %d %v published %s", s.GetEventSeq(), s.GetTrials(), s.GetMade(), best.GetNumber(), s.GetBestValue(), j.GetPublishedVersion()),
	}
	for _, t := range v.TrialsAfter("job-1", 0, 0) {
		from, _ := v.Checkpoint(t.GetStartCheckpointId())
		lines = append(lines, fmt.Sprintf("trial %d %s until %v from %d seed %d %v: %s", t.GetNumber(), state.TrialWord(t.GetState()), t.GetUntil(), from.GetStep(), t.GetSpec().GetTraining().GetSeed(), t.GetParameters().AsMap(), say.Reason(t.GetWhy(), say.CLI)))
	}
	for _, e := range v.SweepEvents("job-1", 0, 0) {
		lines = append(lines, fmt.Sprintf("%d %v %v %v %v", e.GetSeq(), e.GetMeasured().GetTrial(), e.GetMeasured().GetShare(), e.GetEnded().GetTrial(), e.GetEnded().GetOutcome()))
	}
	return lines
}

func searchedSpec(method *tandemv1.MethodSpec, trials int32) *tandemv1.JobSpec {
	return &tandemv1.JobSpec{
		Name: "s", Kind: "sweep", Dataset: "d", Metric: "loss", Mode: "min",
		Model: &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{}}},
		Training: &tandemv1.TrainingSpec{
			Batch: 16, Steps: totalSteps, Optimizer: &tandemv1.OptimizerSpec{Name: "sgd", Momentum: 0.9},
		},
		Resources: &tandemv1.ResourceSpec{Workers: 1, Pool: "default"}, Publish: &tandemv1.PublishSpec{Model: "m"},
		Search: &tandemv1.SearchSpec{
			Space: map[string]*tandemv1.Domain{
				"training.optimizer.lr":       {Log: []float64{1e-5, 1}},
				"training.optimizer.nesterov": {Const: structpb.NewBoolValue(true)},
			},
			Method: method, MaxTrials: trials, Seed: 3,
		},
	}
}

// TestSearchSurvivesLeaders: the leader is lost while reports come and while the search decides; what was decided is what an
// undisturbed search decides on the same reports, and no report is lost.
func TestSearchSurvivesLeaders(t *testing.T) {
	for name, method := range map[string]*tandemv1.MethodSpec{
		"asha": {Name: "asha", Divisor: 2, Rungs: 3}, "asha tpe": {Name: "asha", Divisor: 2, Rungs: 3, Sampler: "tpe", StartupTrials: 3},
		"pbt": {Name: "pbt", Population: 4, Intervals: 4},
	} {
		t.Run(name, func(t *testing.T) {
			stories := map[bool][]string{}
			for _, disturbed := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, 4)
					defer b.stop()
					b.fails[2], b.diverges[5] = 3, 2
					b.submit(searchedSpec(method, 10), &tandemv1.Sweep{})
					for b.step() {
						if disturbed && (b.reported == 7 || b.reported == 30) {
							b.loseLeader()
						}
					}
					stories[disturbed] = story(b.view())
				})
			}
			if diff := cmp.Diff(stories[false], stories[true]); diff != "" {
				t.Errorf("without its leaders the search went another way (-undisturbed +disturbed):\n%s", diff)
			}
			text := strings.Join(stories[false], "\n")
			for _, want := range []string{"JOB_STATE_COMPLETED", "published m@1", "trial 2 failed", "trial 5 failed", "OUTCOME_DIVERGED", "OUTCOME_REACHED", "OUTCOME_COMPLETED"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in\n%s", want, text)
				}
			}
		})
	}
}

// TestSearchIsSteered: a sweep is paused and resumed, one of its trials is stopped, it is extended when it was completed, and ends when its
// slots were held long enough.
func TestSearchIsSteered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2)
		defer b.stop()
		spec := searchedSpec(&tandemv1.MethodSpec{Name: "random"}, 3)
		spec.Search.GpuHours = 2.5
		b.submit(spec, &tandemv1.Sweep{})
		steps := func(n int) {
			for range n {
				b.step()
			}
		}
		intent := func(i tandemv1.JobIntent) {
			b.propose(&tandemv1.Command{Command: &tandemv1.Command_SetJobIntent{SetJobIntent: &tandemv1.SetJobIntent{JobId: "job-1", Intent: i}}})
		}
		is := func(want tandemv1.JobState, words string) *state.View {
			t.Helper()
			v := b.view()
			if j, _ := v.Job("job-1"); j.GetState() != want || !strings.Contains(say.Reason(j.GetWhy(), say.CLI), words) {
				t.Fatalf("job is %v (%s), want %v with %q", j.GetState(), say.Reason(j.GetWhy(), say.CLI), want, words)
			}
			return v
		}
		steps(9)
		is(tandemv1.JobState_JOB_STATE_RUNNING, "2 trials train; 3 of at most 3 made.")
		intent(tandemv1.JobIntent_JOB_INTENT_PAUSE)
		is(tandemv1.JobState_JOB_STATE_RUNNING, "2 trials stop")
		steps(9)
		v := is(tandemv1.JobState_JOB_STATE_PAUSED, "tandem resume")
		if s, _ := v.Sweep("job-1"); s.GetFinished() || s.GetTrials()["paused"] != 3 {
			t.Errorf("paused: %v", s)
		}
		intent(tandemv1.JobIntent_JOB_INTENT_RUN)
		steps(4)
		b.propose(&tandemv1.Command{Actor: "ann", Command: &tandemv1.Command_StopSweepTrial{StopSweepTrial: &tandemv1.StopSweepTrial{SweepId: "job-1", Trial: 1}}})
		v = is(tandemv1.JobState_JOB_STATE_RUNNING, "2 trials train")
		if first, _ := v.TrialNumber("job-1", 1); first.GetState() != tandemv1.TrialState_TRIAL_STATE_STOPPED || say.Reason(first.GetWhy(), say.CLI) != "Stopped by ann." || first.GetAllocationId() != "" {
			t.Errorf("stopped: %v", first)
		}
		for b.step() {
		}
		is(tandemv1.JobState_JOB_STATE_COMPLETED, "Published m@1.")
		b.propose(&tandemv1.Command{Command: &tandemv1.Command_ExtendSweep{ExtendSweep: &tandemv1.ExtendSweep{SweepId: "job-1", MaxTrials: 5}}})
		v = is(tandemv1.JobState_JOB_STATE_RUNNING, "2 trials train; 5 of at most 5 made.")
		if s, _ := v.Sweep("job-1"); s.GetFinished() {
			t.Errorf("extended: %v", s)
		}
		// Nobody reports any more: two slots are held until the limit comes.
		time.Sleep(2 * time.Hour)
		v = is(tandemv1.JobState_JOB_STATE_COMPLETED, "held for 2.5 hours")
		s, _ := v.Sweep("job-1")
		if s.GetSlotSeconds() < 2.5*3600 || s.GetSlotSeconds() > 2.5*3600+10 || len(state.Desired(v, "node-a")) != 0 {
			t.Errorf("exhausted: %v", s)
		}
		if res := b.propose(&tandemv1.Command{Command: &tandemv1.Command_ExtendSweep{ExtendSweep: &tandemv1.ExtendSweep{SweepId: "job-1", MaxTrials: 9}}}); res.GetRefusal() == 0 {
			t.Error("a sweep without hours left was extended")
		}
	})
}
