package fsm

import (
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// reason is a code with its arguments, in pairs of name and value.
func reason(code tandemv1.Reason_Code, pairs ...any) *tandemv1.Reason {
	return state.NewReason(code, pairs...)
}

// reasonFrom is a reason that follows from another.
func reasonFrom(cause *tandemv1.Reason, code tandemv1.Reason_Code, pairs ...any) *tandemv1.Reason {
	return state.NewReasonFrom(cause, code, pairs...)
}

// words are somebody else's, word for word; nil when there are none.
func words(text string) *tandemv1.Reason { return state.Given(nil, text) }

// given is a reason that may have been given as text alone.
func given(why *tandemv1.Reason, text string) *tandemv1.Reason { return state.Given(why, text) }

func sameReason(a, b *tandemv1.Reason) bool { return proto.Equal(a, b) }

// missing is the first of several fields that is empty; they come in pairs of name and value.
func missing(pairs ...string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return pairs[i]
		}
	}
	return ""
}
