package coordinator

import (
	"strings"
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestWhatCannotBeTrueIsNotLogged: a report that no engine can mean is refused, and those beside it are not; of a thousand notes few are taken.
func TestWhatCannotBeTrueIsNotLogged(t *testing.T) {
	r := startOne(t)
	a := newAgent(t, r)
	a.session(t.Context(), a.node(1))
	evaluation := func(step int64) *tandemv1.EngineReport {
		return &tandemv1.EngineReport{EngineId: "alloc-x/0", Report: &tandemv1.EngineReport_Evaluation{Evaluation: &tandemv1.Evaluation{Step: step}}}
	}
	got := a.report(evaluation(-1), evaluation(1), evaluation(-2))
	if len(got) != 3 || !strings.Contains(got[0], "step -1") || strings.Contains(got[1], "step") || got[1] == "" || !strings.Contains(got[2], "step -2") {
		t.Errorf("answers %q", got)
	}
	var notes []*tandemv1.EngineReport
	for range 1000 {
		notes = append(notes, &tandemv1.EngineReport{EngineId: "alloc-x/0", Report: &tandemv1.EngineReport_Note{Note: &tandemv1.EngineNote{Message: "spam", Warning: true}}})
	}
	passed := 0
	for _, why := range a.report(notes...) {
		if !strings.Contains(why, "too many notes") {
			passed++
		}
	}
	if passed > 25 {
		t.Errorf("%d of 1000 notes passed", passed)
	}
}
