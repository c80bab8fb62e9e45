package coordinator

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// sweepSteps is how long a training of trainer is.
const sweepSteps = 16

// trainer plays the engines of an agent: each trial trains in no time, with a loss that follows from its learning rate.
type trainer struct {
	*agent
	done map[string]bool // engines and what was said for them
	seqs answers
	well int // trainings that go well before all others fail; 0: all do
	made int // trainings
}

// answers are the sequence numbers that the coordinator gave; the test reads them beside the session.
type answers struct {
	mu   sync.Mutex
	seqs []int64
}

func (a *answers) add(seqs []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seqs = append(a.seqs, seqs...)
}

func (a *answers) all() []int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seqs)
}

// play answers a session until it ends.
func (tr *trainer) play(s *connect.ServerStreamForClient[tandemv1.SessionResponse]) {
	for s.Receive() {
		for _, task := range s.Msg().GetEngines() {
			tr.step(task)
		}
	}
}

func (tr *trainer) step(task *tandemv1.EngineTask) {
	once := func(what string) bool {
		key := task.GetId() + " " + what
		defer func() { tr.done[key] = true }()
		return !tr.done[key]
	}
	train := task.GetTrain()
	switch {
	case task.GetPublish() != nil:
		if once("publish") {
			tr.say(task, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{}}},
				&tandemv1.EngineReport{Report: &tandemv1.EngineReport_Version{Version: &tandemv1.VersionSaved{VersionId: task.GetPublish().GetVersionId(), ManifestSha256: "m"}}},
				&tandemv1.EngineReport{Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}})
		}
	case train.GetGroup() == nil:
		if once("ready") {
			tr.say(task, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: sweepSteps}}})
		}
	case once("train"):
		if tr.made++; tr.well > 0 && tr.made > tr.well {
			tr.say(task, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: "no luck", Permanent: true}}})
			return
		}
		tr.say(task, training(train)...)
	}
}

// training is what the engine of a trial reports from where it begins to where it is to stop.
func training(train *tandemv1.TrainTask) []*tandemv1.EngineReport {
	until := train.GetUntil()
	if until == 0 {
		until = 1
	}
	end := int64(math.Ceil(until * sweepSteps))
	lr := train.GetSpec().GetTraining().GetOptimizer().GetLr()
	var all []*tandemv1.EngineReport
	for step := train.GetResume().GetStep() + 1; step <= end; step++ {
		loss := math.Abs(math.Log10(lr)+2) + 1/float64(step)
		all = append(all, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Evaluation{Evaluation: &tandemv1.Evaluation{Step: step, Metrics: map[string]float64{"loss": loss}}}})
		if step == end {
			all = append(all, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: &tandemv1.Checkpoint{
				TrialId: train.GetTrialId(), Step: step, Prefix: fmt.Sprintf("%s/%d", train.GetCheckpointPrefix(), step), ManifestSha256: "s", Metrics: map[string]float64{"loss": loss},
			}}}})
		}
	}
	if until < 1 {
		return append(all, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{Step: end, Reached: true}}})
	}
	return append(all, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}})
}

func (tr *trainer) say(task *tandemv1.EngineTask, reports ...*tandemv1.EngineReport) {
	for _, r := range reports {
		r.EngineId, r.Generation = task.GetId(), max(task.GetGeneration(), task.GetTrain().GetGroup().GetGeneration())
	}
	res, err := tr.api.Report(tr.t.Context(), connect.NewRequest(&tandemv1.ReportRequest{NodeId: tr.id, Incarnation: 1, Reports: reports}))
	if err != nil {
		return // the test is over
	}
	for i, refusal := range res.Msg.GetRefusals() {
		if refusal != "" && !res.Msg.GetOver()[i] {
			tr.t.Errorf("report %v was refused: %s", reports[i], refusal)
		}
	}
	tr.seqs.add(res.Msg.GetSeqs())
}

func sweepSpec(method *tandemv1.MethodSpec, trials int32) *tandemv1.JobSpec {
	s := toySpec()
	s.Name, s.Kind, s.Resources, s.Metric, s.Mode = "search", "sweep", nil, "loss", "min"
	s.Publish = &tandemv1.PublishSpec{Model: "toy", Aliases: []string{"champion"}}
	s.Search = &tandemv1.SearchSpec{
		Space: map[string]*tandemv1.Domain{
			"training.optimizer.lr":   {Log: []float64{1e-5, 1}},
			"training.optimizer.name": {Choice: list("sgd", "adamw")},
			"training.optimizer.momentum": {Double: []float64{0, 0.9}, When: map[string]*structpb.ListValue{
				"training.optimizer.name": list("sgd"),
			}},
		},
		Method: method, MaxTrials: trials, Seed: 3,
	}
	return s
}

func list(values ...any) *structpb.ListValue {
	l, err := structpb.NewList(values)
	if err != nil {
		panic(err) // a mistake in a test
	}
	return l
}

// TestSweeps: submitted, searched, published, extended, and what of it can be read.
func TestSweeps(t *testing.T) {
	for name, method := range map[string]*tandemv1.MethodSpec{
		"random": {Name: "random"}, "asha": nil, "asha stop": {Name: "asha", Variant: "stop"}, "hyperband": {Name: "hyperband"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startOne(t)
			c := r.admin(t)
			makeDataset(t, r, c)
			a := &trainer{agent: newAgent(t, r), done: map[string]bool{}}
			s := a.session(t.Context(), a.node(3))
			go a.play(s)
			jobs, sweeps := tandemv1connect.NewJobServiceClient(c, r.url()), tandemv1connect.NewSweepServiceClient(c, r.url())
			res, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: sweepSpec(method, 12)}))
			if err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(res.Msg.GetNotes(), " "); !strings.Contains(notes, "3 hyper-parameters; its points are without number") || !strings.Contains(notes, "12 trials") {
				t.Errorf("notes: %s", notes)
			}
			id := res.Msg.GetJob().GetId()
			get := awaitSweep(t, jobs, sweeps, id)
			checkSweep(t, r, get, 12)
			if _, err := sweeps.ExtendSweep(t.Context(), connect.NewRequest(&tandemv1.ExtendSweepRequest{Id: id, MaxTrials: 15})); err != nil {
				t.Fatal(err)
			}
			checkSweep(t, r, awaitSweep(t, jobs, sweeps, id), 15)
			for _, seq := range a.seqs.all() {
				if seq > r.state.View().Sweeps()[0].GetEventSeq() {
					t.Errorf("an answer names event %d", seq)
				}
			}
		})
	}
}

// TestGridIsUsedUp: a grid ends with its last point, and cannot go on after it. One that may not make all its trials is extended to them,
// whatever more was asked for.
func TestGridIsUsedUp(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	a := &trainer{agent: newAgent(t, r), done: map[string]bool{}}
	go a.play(a.session(t.Context(), a.node(2)))
	jobs, sweeps := tandemv1connect.NewJobServiceClient(c, r.url()), tandemv1connect.NewSweepServiceClient(c, r.url())
	spec := sweepSpec(&tandemv1.MethodSpec{Name: "grid"}, 3)
	spec.Search.Space = map[string]*tandemv1.Domain{"training.optimizer.lr": {Log: []float64{1e-3, 1}, Count: 4}}
	res, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: spec}))
	if err != nil {
		t.Fatal(err)
	}
	id := res.Msg.GetJob().GetId()
	checkSweep(t, r, awaitSweep(t, jobs, sweeps, id), 3)
	for range 2 { // asked again because the answer was lost
		extended, err := sweeps.ExtendSweep(t.Context(), connect.NewRequest(&tandemv1.ExtendSweepRequest{Id: id, MaxTrials: 16, RequestId: "more"}))
		if err != nil || extended.Msg.GetSweep().GetMaxTrials() != 4 {
			t.Fatalf("%v, %v", extended, err)
		}
	}
	checkSweep(t, r, awaitSweep(t, jobs, sweeps, id), 4)
	_, err = sweeps.ExtendSweep(t.Context(), connect.NewRequest(&tandemv1.ExtendSweepRequest{Id: id, MaxTrials: 8}))
	wantCode(t, err, connect.CodeFailedPrecondition, "the grid of sweep "+id+" has 4 points")
	askedOfSweep(t, sweeps, id)
}

// askedOfSweep: questions about a grid of 4 learning rates, of which 0.01 is best.
func askedOfSweep(t *testing.T, sweeps tandemv1connect.SweepServiceClient, id string) {
	t.Helper()
	replay := func(slots int32, methods ...*tandemv1.MethodSpec) (*connect.Response[tandemv1.ReplaySweepResponse], error) {
		return sweeps.ReplaySweep(t.Context(), connect.NewRequest(&tandemv1.ReplaySweepRequest{Id: id, Methods: methods, Slots: slots}))
	}
	res, err := replay(1, &tandemv1.MethodSpec{Name: "random"}, &tandemv1.MethodSpec{Name: "asha", Divisor: 2, Rungs: 2})
	if err != nil {
		t.Fatal(err)
	}
	best := 1.0 / sweepSteps
	recorded, random, asha := res.Msg.GetRecorded(), res.Msg.GetMethods()[0], res.Msg.GetMethods()[1]
	if recorded.GetTrained() != 4 || math.Abs(recorded.GetBestValue()-best) > 1e-9 || random.GetTrained() != 4 || random.GetSavedShare() != 0 || random.GetMissed() ||
		random.GetBestTrial() != recorded.GetBestTrial() || asha.GetTrained() >= 4 || asha.GetMethod() != "asha,divisor=2,rungs=2" || res.Msg.GetSlots() != 1 {
		t.Errorf("replayed: %v", res.Msg)
	}
	_, err = replay(0)
	wantCode(t, err, connect.CodeInvalidArgument, "methods: name at least one")
	_, err = replay(-1, &tandemv1.MethodSpec{Name: "asha"})
	wantCode(t, err, connect.CodeInvalidArgument, "slots: must be 1 to")
	_, err = replay(0, &tandemv1.MethodSpec{Name: "asha"}, &tandemv1.MethodSpec{Name: "zen"})
	wantCode(t, err, connect.CodeInvalidArgument, "methods[1]: ")
	curves, err := sweeps.GetCurves(t.Context(), connect.NewRequest(&tandemv1.GetCurvesRequest{Id: id, Best: 1}))
	if err != nil {
		t.Fatal(err)
	}
	if c, course := curves.Msg.GetCurves(), curves.Msg.GetCourse(); len(c) != 1 || c[0].GetTrial() != recorded.GetBestTrial() || c[0].GetBestValue() != recorded.GetBestValue() ||
		len(c[0].GetPoints()) == 0 || len(course) != 4 || course[3].GetValue() != recorded.GetBestValue() {
		t.Errorf("curves: %v", curves.Msg)
	}
	_, err = sweeps.GetCurves(t.Context(), connect.NewRequest(&tandemv1.GetCurvesRequest{Id: id, Best: -1}))
	wantCode(t, err, connect.CodeInvalidArgument, "best: must be")
	_, err = sweeps.GetImportance(t.Context(), connect.NewRequest(&tandemv1.GetImportanceRequest{Id: id}))
	wantCode(t, err, connect.CodeFailedPrecondition, "at least 10 trials")
}

// TestSweepGivesUp: one whose trials fail, too many of them, has failed and publishes nothing, though some trials have values. A job
// that trains under its name does not hide it.
func TestSweepGivesUp(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	a := &trainer{agent: newAgent(t, r), done: map[string]bool{}, well: 2}
	go a.play(a.session(t.Context(), a.node(1)))
	jobs, sweeps := tandemv1connect.NewJobServiceClient(c, r.url()), tandemv1connect.NewSweepServiceClient(c, r.url())
	spec := sweepSpec(&tandemv1.MethodSpec{Name: "random"}, 20)
	spec.Search.MaxFailedTrials = 3
	res, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: spec}))
	if err != nil {
		t.Fatal(err)
	}
	got := awaitSweep(t, jobs, sweeps, res.Msg.GetJob().GetId())
	reason := got.GetJob().GetReason()
	if got.GetJob().GetState() != tandemv1.JobState_JOB_STATE_FAILED || got.GetBest() == nil || !strings.Contains(reason, "4 trials failed, and 3 may") || !strings.Contains(reason, "is the best of") {
		t.Errorf("%v", got.GetJob())
	}
	if n := len(r.state.View().VersionsOf("toy")); n != 0 {
		t.Errorf("it published %d versions", n)
	}
	plain := proto.Clone(got.GetBest().GetSpec()).(*tandemv1.JobSpec)
	plain.Name = "search"
	if _, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: plain})); err != nil {
		t.Fatal(err)
	}
	again, err := sweeps.GetSweep(t.Context(), connect.NewRequest(&tandemv1.GetSweepRequest{Id: "search"}))
	if err != nil || again.Msg.GetJob().GetId() != got.GetJob().GetId() {
		t.Errorf("its name stands for %v, %v", again, err)
	}
}

// awaitSweep follows a sweep to its end.
func awaitSweep(t *testing.T, jobs tandemv1connect.JobServiceClient, sweeps tandemv1connect.SweepServiceClient, id string) *tandemv1.GetSweepResponse {
	t.Helper()
	watch, err := jobs.WatchJob(t.Context(), connect.NewRequest(&tandemv1.WatchJobRequest{Id: id}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Close() }()
	awaitJob(t, watch, func(w *tandemv1.WatchJobResponse) bool { return state.JobFinal(w.GetJob().GetState()) })
	get, err := sweeps.GetSweep(t.Context(), connect.NewRequest(&tandemv1.GetSweepRequest{Id: id}))
	if err != nil {
		t.Fatal(err)
	}
	return get.Msg
}

// checkSweep checks what must hold at the end of a sweep of trainer.
func checkSweep(t *testing.T, r *running, got *tandemv1.GetSweepResponse, made int32) {
	t.Helper()
	v := r.state.View()
	if got.GetJob().GetState() != tandemv1.JobState_JOB_STATE_COMPLETED || got.GetSweep().GetMade() != made || !got.GetSweep().GetFinished() {
		t.Fatalf("%v\n%v", got.GetJob(), got.GetSweep())
	}
	best := math.Inf(1)
	measured := map[string]bool{}
	for _, trial := range v.TrialsAfter(got.GetJob().GetId(), 0, 0) {
		if !state.TrialFinal(trial.GetState()) || trial.GetAllocationId() != "" || trial.GetWhy() == nil {
			t.Errorf("the search is over, but not %v", trial)
		}
		for _, e := range trial.GetEvaluations() {
			best = min(best, e.GetMetrics()["loss"])
			measured[fmt.Sprint(trial.GetNumber(), float64(e.GetStep())/sweepSteps)] = true
		}
	}
	if got.GetSweep().GetBestValue() != best || got.GetBest().GetId() != got.GetSweep().GetBestTrialId() {
		t.Errorf("best value %v, want %v", got.GetSweep().GetBestValue(), best)
	}
	for _, e := range v.SweepEvents(got.GetJob().GetId(), 0, 0) {
		if m := e.GetMeasured(); m != nil {
			key := fmt.Sprint(m.GetTrial(), m.GetShare())
			if !measured[key] {
				t.Errorf("event %v occurs twice, or was never reported", e)
			}
			delete(measured, key)
		}
	}
	if len(measured) > 0 {
		t.Errorf("no events of %v", measured)
	}
	versions := v.VersionsOf("toy")
	if len(versions) == 0 || got.GetJob().GetPublishedVersion() == "" {
		t.Fatalf("nothing was published: %v", got.GetJob())
	}
	if version := versions[len(versions)-1]; version.GetLineage().GetTrialId() != got.GetBest().GetId() {
		t.Errorf("published %v, the best trial is %s", version.GetLineage(), got.GetBest().GetId())
	}
}

// TestSweepIsSteered: paused and resumed, a trial stopped, the deadline, cancelled.
func TestSweepIsSteered(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	a := &trainer{agent: newAgent(t, r), done: map[string]bool{}}
	jobs, sweeps := tandemv1connect.NewJobServiceClient(c, r.url()), tandemv1connect.NewSweepServiceClient(c, r.url())
	spec := sweepSpec(&tandemv1.MethodSpec{Name: "random"}, 6)
	spec.Search.Deadline = "1h"
	res, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: spec}))
	if err != nil {
		t.Fatal(err)
	}
	id := res.Msg.GetJob().GetId()
	watch, err := jobs.WatchJob(t.Context(), connect.NewRequest(&tandemv1.WatchJobRequest{Id: id}))
	if err != nil {
		t.Fatal(err)
	}
	awaitJob(t, watch, func(*tandemv1.WatchJobResponse) bool { return len(r.state.View().TrialsAfter(id, 0, 0)) == 4 })
	stopped, err := sweeps.StopSweepTrial(t.Context(), connect.NewRequest(&tandemv1.StopSweepTrialRequest{Id: "search", Trial: 2}))
	if err != nil || stopped.Msg.GetTrial().GetState() != tandemv1.TrialState_TRIAL_STATE_STOPPED {
		t.Fatal(stopped, err)
	}
	_, err = sweeps.StopSweepTrial(t.Context(), connect.NewRequest(&tandemv1.StopSweepTrialRequest{Id: id, Trial: 20}))
	wantCode(t, err, connect.CodeNotFound, "no trial 20")
	if _, err := jobs.SetJobIntent(t.Context(), connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: id, Intent: tandemv1.JobIntent_JOB_INTENT_PAUSE})); err != nil {
		t.Fatal(err)
	}
	awaitJob(t, watch, func(w *tandemv1.WatchJobResponse) bool {
		return w.GetJob().GetState() == tandemv1.JobState_JOB_STATE_PAUSED
	})
	s := a.session(t.Context(), a.node(1))
	go a.play(s)
	if _, err := jobs.SetJobIntent(t.Context(), connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: id, Intent: tandemv1.JobIntent_JOB_INTENT_RUN})); err != nil {
		t.Fatal(err)
	}
	checkSweep(t, r, awaitSweep(t, jobs, sweeps, id), 6)
	listed, err := sweeps.ListTrials(t.Context(), connect.NewRequest(&tandemv1.ListTrialsRequest{Id: id, After: 1, Limit: 2}))
	if err != nil || len(listed.Msg.GetTrials()) != 2 || listed.Msg.GetTrials()[0].GetNumber() != 2 {
		t.Errorf("%v, %v", listed, err)
	}
	events, err := sweeps.ListSweepEvents(t.Context(), connect.NewRequest(&tandemv1.ListSweepEventsRequest{Id: id, After: 1, Limit: 1}))
	if err != nil || len(events.Msg.GetEvents()) != 1 || events.Msg.GetEvents()[0].GetEnded().GetOutcome() != tandemv1.TrialOutcome_TRIAL_OUTCOME_STOPPED {
		t.Errorf("%v, %v", events, err)
	}

	pagesOfSweep(t, sweeps, id)

	// Logs and metrics are those of one trial.
	logs, err := jobs.StreamLogs(t.Context(), connect.NewRequest(&tandemv1.StreamLogsRequest{Id: id}))
	if err == nil {
		logs.Receive()
		err = logs.Err()
	}
	wantCode(t, err, connect.CodeFailedPrecondition, "by its id")
	metrics := tandemv1connect.NewMetricServiceClient(c, r.url())
	if _, err := metrics.GetMetrics(t.Context(), connect.NewRequest(&tandemv1.GetMetricsRequest{Id: listed.Msg.GetTrials()[1].GetId()})); err != nil {
		t.Error(err)
	}

	// A deadline comes while nobody has slots: nothing was measured, so it fails and says why.
	_ = s.Close()
	warm := sweepSpec(&tandemv1.MethodSpec{Name: "random"}, 6)
	// A warm start that takes nothing is refused with the reason: another space, or a method that does not learn.
	other := sweepSpec(&tandemv1.MethodSpec{Name: "random"}, 6)
	other.Search.WarmStart, other.Search.Space = "search", map[string]*tandemv1.Domain{"training.optimizer.lr": {Log: []float64{10, 100}}}
	_, err = jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: other, DryRun: true}))
	wantCode(t, err, connect.CodeInvalidArgument, "search.warm_start: none of the")
	wantCode(t, err, connect.CodeInvalidArgument, "fits this search")
	grid := sweepSpec(&tandemv1.MethodSpec{Name: "grid"}, 0)
	grid.Search.WarmStart, grid.Search.Space = "search", map[string]*tandemv1.Domain{"training.optimizer.lr": {Log: []float64{1e-5, 1}, Count: 3}}
	_, err = jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: grid, DryRun: true}))
	wantCode(t, err, connect.CodeInvalidArgument, "a grid does not learn")
	warm.Search.WarmStart, warm.Search.Deadline, warm.Resources = "search", "1s", &tandemv1.ResourceSpec{Pool: "nobody"}
	res, err = jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: warm}))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	got := awaitSweep(t, jobs, sweeps, res.Msg.GetJob().GetId())
	if got.GetJob().GetState() != tandemv1.JobState_JOB_STATE_FAILED || !strings.Contains(got.GetJob().GetReason(), "deadline of 1s has passed") || time.Since(begun) < 500*time.Millisecond {
		t.Errorf("after %s: %v", time.Since(begun), got.GetJob())
	}
	row, _ := r.state.View().Sweep(res.Msg.GetJob().GetId())
	if len(row.GetPrior()) != 5 || row.GetPrior()[0].GetShare() != 1 || len(got.GetSweep().GetPrior()) != 0 || got.GetSweep().GetPriorTaken() != 5 || got.GetSweep().GetPriorMade() != 6 {
		t.Errorf("takes %d of %d, begins with %v", got.GetSweep().GetPriorTaken(), got.GetSweep().GetPriorMade(), row.GetPrior())
	}
	_, err = sweeps.ExtendSweep(t.Context(), connect.NewRequest(&tandemv1.ExtendSweepRequest{Id: res.Msg.GetJob().GetId(), MaxTrials: 9}))
	wantCode(t, err, connect.CodeFailedPrecondition, "warm_start")
}

// TestSweepsAreMeasured: trials of a sweep that train at the same time are one job in the metrics, and each is seen with its progress.
func TestSweepsAreMeasured(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	jobs, sweeps := tandemv1connect.NewJobServiceClient(c, r.url()), tandemv1connect.NewSweepServiceClient(c, r.url())
	res, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: sweepSpec(nil, 2)}))
	if err != nil {
		t.Fatal(err)
	}
	a := newAgent(t, r)
	s := a.session(t.Context(), a.node(2))
	tasks := a.await(s, 2)
	for _, task := range tasks {
		a.report(&tandemv1.EngineReport{EngineId: task.GetId(), Generation: 1, Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: 10}}})
	}
	for n := 0; n < 2; {
		if n = 0; !s.Receive() {
			t.Fatal(s.Err())
		}
		for _, e := range s.Msg().GetEngines() {
			n += int(e.GetTrain().GetGroup().GetWorldSize())
		}
	}
	for _, task := range tasks {
		if _, err := a.api.ReportProgress(t.Context(), connect.NewRequest(&tandemv1.ReportProgressRequest{Progress: []*tandemv1.Progress{
			{TrialId: task.GetTrain().GetTrialId(), Generation: 1, Step: 1, StepsPerSecond: 2, Time: timestamppb.Now()},
		}})); err != nil {
			t.Fatal(err)
		}
	}
	page, err := c.Get(r.url() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = page.Body.Close() }()
	text, err := io.ReadAll(page.Body)
	if want := "tandem_steps_per_second 4"; err != nil || page.StatusCode != 200 || !strings.Contains(string(text), want) {
		t.Errorf("status %d, no %q in %s, %v", page.StatusCode, want, text, err)
	}
	got, err := sweeps.GetSweep(t.Context(), connect.NewRequest(&tandemv1.GetSweepRequest{Id: res.Msg.GetJob().GetId()}))
	if err != nil || len(got.Msg.GetProgress()) != 2 || got.Msg.GetBest() != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// pagesOfSweep: page by page every trial and every event of a sweep is listed once, in order.
func pagesOfSweep(t *testing.T, sweeps tandemv1connect.SweepServiceClient, id string) {
	t.Helper()
	whole, err := sweeps.ListSweepEvents(t.Context(), connect.NewRequest(&tandemv1.ListSweepEventsRequest{Id: id}))
	if err != nil || whole.Msg.GetNextPageToken() != "" {
		t.Fatal(whole, err)
	}
	var numbers, seqs []int64
	trials := &tandemv1.ListTrialsRequest{Id: id, Limit: 4}
	for trials.PageToken != "" || len(numbers) == 0 {
		res, err := sweeps.ListTrials(t.Context(), connect.NewRequest(trials))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range res.Msg.GetTrials() {
			numbers = append(numbers, int64(row.GetNumber()))
		}
		trials.PageToken = res.Msg.GetNextPageToken()
	}
	events := &tandemv1.ListSweepEventsRequest{Id: id, Limit: 4}
	for events.PageToken != "" || len(seqs) == 0 {
		res, err := sweeps.ListSweepEvents(t.Context(), connect.NewRequest(events))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range res.Msg.GetEvents() {
			seqs = append(seqs, row.GetSeq())
		}
		events.PageToken = res.Msg.GetNextPageToken()
	}
	count := func(n int) (to []int64) {
		for i := range n {
			to = append(to, int64(i+1))
		}
		return to
	}
	if !slices.Equal(numbers, count(6)) || !slices.Equal(seqs, count(len(whole.Msg.GetEvents()))) {
		t.Errorf("trials %v, events %v of %d", numbers, seqs, len(whole.Msg.GetEvents()))
	}
	_, err = sweeps.ListTrials(t.Context(), connect.NewRequest(&tandemv1.ListTrialsRequest{Id: id, PageToken: "x"}))
	wantCode(t, err, connect.CodeInvalidArgument, "page_token")
}
