package fsm

import (
	"testing"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestUnfinished: when the best trial of a sweep was not trained to the end, the reason says how far it was.
func TestUnfinished(t *testing.T) {
	best := func(state tandemv1.TrialState, steps ...int64) *tandemv1.Trial {
		trial := &tandemv1.Trial{State: state, TotalSteps: 9}
		for _, step := range steps {
			trial.Evaluations = append(trial.Evaluations, &tandemv1.Evaluation{Step: step})
		}
		return trial
	}
	for _, tc := range []struct {
		trial *tandemv1.Trial
		want  string
	}{
		{best(tandemv1.TrialState_TRIAL_STATE_COMPLETED, 3, 9), "Trial 2 is the best of 4, with loss 0.5."},
		{best(tandemv1.TrialState_TRIAL_STATE_STOPPED, 1, 3), "Trial 2 is the best of 4, with loss 0.5, after 33.3 % of its training."},
	} {
		why := reason(tandemv1.Reason_CODE_SWEEP_FOUND, "best", 2, "made", 4, "metric", "loss", "value", 0.5, "percent", state.Unfinished(tc.trial))
		if got := say.Reason(why, say.Plain); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}
