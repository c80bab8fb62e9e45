package placement

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/fsm/fsmtest"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
)

// TestRemaining: the end of a trial is predicted from its speed, within a fifth; not from old news, and not beyond what its search wants.
func TestRemaining(t *testing.T) {
	now := fsmtest.T0
	progress := func(change func(p *tandemv1.Progress)) *tandemv1.Progress {
		p := &tandemv1.Progress{Step: 400, TotalSteps: 1000, StepsPerSecond: 2, Time: timestamppb.New(now)}
		change(p)
		return p
	}
	for name, c := range map[string]struct {
		trial *tandemv1.Trial
		heard *tandemv1.Progress
		want  scheduler.Span
	}{
		"600 steps at 2/s":  {nil, progress(func(*tandemv1.Progress) {}), scheduler.Span{Low: 240 * time.Second, High: 360 * time.Second}},
		"until half of all": {&tandemv1.Trial{Until: 0.5}, progress(func(*tandemv1.Progress) {}), scheduler.Span{Low: 40 * time.Second, High: 60 * time.Second}},
		"heard 50 s ago": {nil, progress(func(p *tandemv1.Progress) { p.Time = timestamppb.New(now.Add(-50 * time.Second)) }),
			scheduler.Span{Low: 200 * time.Second, High: 300 * time.Second}},
		"past its end": {nil, progress(func(p *tandemv1.Progress) { p.Step = 1000 }), scheduler.Span{Low: 800 * time.Millisecond, High: 1200 * time.Millisecond}},
		"old news":     {nil, progress(func(p *tandemv1.Progress) { p.Time = timestamppb.New(now.Add(-2 * time.Minute)) }), scheduler.Span{}},
		"no speed yet": {nil, progress(func(p *tandemv1.Progress) { p.StepsPerSecond = 0 }), scheduler.Span{}},
		"nothing":      {nil, nil, scheduler.Span{}},
	} {
		if got := remaining(c.trial, c.heard, now); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestUnsaved: what would be lost counts from the last checkpoint of this allocation, or from its beginning.
func TestUnsaved(t *testing.T) {
	now := fsmtest.T0
	ago := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }
	g := &group{now: now, alloc: &tandemv1.Allocation{CreatedAt: ago(time.Hour)}}
	for name, c := range map[string]struct {
		latest *tandemv1.Checkpoint
		want   time.Duration
	}{
		"none":                     {nil, time.Hour},
		"of the allocation":        {&tandemv1.Checkpoint{CreatedAt: ago(5 * time.Minute)}, 5 * time.Minute},
		"of the allocation before": {&tandemv1.Checkpoint{CreatedAt: ago(3 * time.Hour)}, time.Hour},
	} {
		if g.latest = c.latest; g.unsaved() != c.want {
			t.Errorf("%s: %v, want %v", name, g.unsaved(), c.want)
		}
	}
}
