package main

import (
	"context"
	"errors"
	"testing"

	"connectrpc.com/connect"
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
