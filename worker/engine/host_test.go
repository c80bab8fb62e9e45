package engine

import (
	"context"
	"errors"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// What a rank that does not meet the others makes of it depends on why: whoever finds a deadline passed first, it is one.
func TestPassed(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	other := errors.New("other")
	for name, c := range map[string]struct {
		ctx  context.Context
		err  error
		want error
	}{
		"none":                 {ended, nil, nil},
		"ended here":           {ended, connect.NewError(connect.CodeUnavailable, other), context.Canceled},
		"deadline at the host": {t.Context(), connect.NewError(connect.CodeDeadlineExceeded, other), context.DeadlineExceeded},
		"over":                 {t.Context(), connect.NewError(connect.CodeFailedPrecondition, other), errPassed},
		"else":                 {t.Context(), other, other},
	} {
		if got := passed(c.ctx, c.err); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestProgressIsWhole: progress that could not be sent in time gives way to newer, but its steps are not lost.
func TestProgressIsWhole(t *testing.T) {
	h := &host{latest: make(chan *tandemv1.Progress, 1)}
	h.Progress(&tandemv1.Progress{Step: 1, StepTime: &tandemv1.StepTime{Steps: 1, Data: 0.25}})
	h.Progress(&tandemv1.Progress{Step: 1})
	h.Progress(&tandemv1.Progress{Step: 3, StepTime: &tandemv1.StepTime{Steps: 2, Data: 0.5, Forward: 1, Backward: 2, Communication: 3, Optimizer: 4, Checkpoint: 5, Other: 6}})
	h.Progress(&tandemv1.Progress{Step: 4, StepTime: &tandemv1.StepTime{Steps: 1, Forward: 1, Backward: 1, Communication: 1, Optimizer: 1, Checkpoint: 1, Other: 1}})
	got := <-h.latest
	want := &tandemv1.StepTime{Steps: 4, Data: 0.75, Forward: 2, Backward: 3, Communication: 4, Optimizer: 5, Checkpoint: 6, Other: 7}
	if got.GetStep() != 4 || !proto.Equal(got.GetStepTime(), want) {
		t.Errorf("step %d, %v; want %v", got.GetStep(), got.GetStepTime(), want)
	}
}
