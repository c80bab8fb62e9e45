package state

import (
	"fmt"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// NewReason is a code with its arguments, in pairs of name and value.
func NewReason(code tandemv1.Reason_Code, pairs ...any) *tandemv1.Reason {
	r := &tandemv1.Reason{Code: code, Args: map[string]string{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		r.Args[fmt.Sprint(pairs[i])] = fmt.Sprint(pairs[i+1])
	}
	return r
}

// NewReasonFrom is a reason that follows from another.
func NewReasonFrom(cause *tandemv1.Reason, code tandemv1.Reason_Code, pairs ...any) *tandemv1.Reason {
	r := NewReason(code, pairs...)
	r.Cause = cause
	return r
}
