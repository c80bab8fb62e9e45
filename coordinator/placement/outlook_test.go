package placement

import (
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
)

// TestOutlook: a job that waits is told its place, when it begins, and what would have it begin; one that is not submitted gets the same answer
// as if it were; one that runs is told why it is where it is.
func TestOutlook(t *testing.T) {
	p := newPlay(t)
	for _, line := range []string{
		"node a slots=4", "job runs workers=3", "ready runs/0 runs/1 runs/2", "formed runs/0 step=0", "wait 11m", "job wide workers=4", "wait 1s",
	} {
		p.happen(line)
	}
	runs := p.S.View().Allocations()[0]
	heard := func(trial string, generation int64) *tandemv1.Progress {
		if trial != runs.GetTrialId() || generation != runs.GetGeneration() {
			return nil
		}
		return &tandemv1.Progress{TotalSteps: 100, Step: 40, StepsPerSecond: 1, Time: timestamppb.New(p.Now)}
	}
	job, _ := p.S.View().Job("wide")
	got := Outlook(p.S.View(), heard, job, p.Now)
	want := &tandemv1.Outlook{
		JobId: "wide", TrialId: "wide-trial", Pool: "default", Position: 1,
		BeginsAfter: timestamppb.New(p.Now.Add(41 * time.Second)), BeginsBefore: timestamppb.New(p.Now.Add(79 * time.Second)),
		Why: Explain(p.S.View(), heard, p.Now)["wide-trial"],
		Changes: []*tandemv1.StartChange{
			{Workers: 1}, {Priority: 1, Frees: []*tandemv1.Freed{{JobId: "runs", Job: "runs", Slots: 3, Parked: true}}},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	create := p.jobOf("next", &datadriven.TestData{Cmd: "job", CmdArgs: []datadriven.CmdArg{{Key: "workers", Vals: []string{"2"}}}}).GetCreateJob()
	create.Job.State, create.Trial.JobId, create.Trial.Stage = tandemv1.JobState_JOB_STATE_PENDING, "next", tandemv1.TrialStage_TRIAL_STAGE_TRAIN
	would := OutlookIf(p.S.View(), heard, create.GetJob(), create.GetTrial(), p.Now)
	if would.GetPosition() != 2 || len(would.GetAhead()) != 1 || would.GetAhead()[0] != "wide" || would.GetBeginsAfter() != nil {
		t.Errorf("would be: %v", would)
	}
	p.propose(&tandemv1.Command{Command: &tandemv1.Command_CreateJob{CreateJob: create}})
	job, _ = p.S.View().Job("next")
	if diff := cmp.Diff(would, Outlook(p.S.View(), heard, job, p.Now), protocmp.Transform()); diff != "" {
		t.Errorf("submitted, it has another outlook: %s", diff)
	}
	job, _ = p.S.View().Job("runs")
	if o := Outlook(p.S.View(), heard, job, p.Now); o.GetPosition() != 0 || o.GetTrialId() != "" || o.GetWhy() == nil {
		t.Errorf("of one that runs: %v", o)
	}
}

// TestWallTimePredicts: of work that is ended at a time it is known when it ends at the latest, while it waits and while it runs.
func TestWallTimePredicts(t *testing.T) {
	p := newPlay(t)
	for _, line := range []string{
		"node a slots=2", "job runs workers=2 wall=10m", "ready runs/0 runs/1", "formed runs/0 step=0", "wait 4m",
		"job wide workers=2 wall=30m", "wait 1s", "job next workers=2",
	} {
		p.happen(line)
	}
	in := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(p.Now.Add(d)) }
	for name, want := range map[string][2]time.Duration{
		"wide": {0, 7*time.Minute + 29*time.Second},
		"next": {0, 46*time.Minute + 11*time.Second},
	} {
		job, _ := p.S.View().Job(name)
		got := Outlook(p.S.View(), silence, job, p.Now)
		if !got.GetBeginsAfter().AsTime().Equal(in(want[0]).AsTime()) || !got.GetBeginsBefore().AsTime().Equal(in(want[1]).AsTime()) {
			t.Errorf("%s begins %v to %v, want %v", name, got.GetBeginsAfter().AsTime().Sub(p.Now), got.GetBeginsBefore().AsTime().Sub(p.Now), want)
		}
	}
	took := scheduler.Span{Low: time.Minute, High: time.Hour}
	if got, want := within(took, 10*time.Minute), (scheduler.Span{Low: time.Minute, High: 10 * time.Minute}); got != want {
		t.Errorf("within 10 minutes: %v, want %v", got, want)
	}
}
