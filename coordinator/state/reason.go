package state

import (
	"fmt"
	"strconv"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// NewReason is a code with its arguments, in pairs of name and value.
func NewReason(code tandemv1.Reason_Code, pairs ...any) *tandemv1.Reason {
	return &tandemv1.Reason{Code: code, Args: Args(pairs...)}
}

// NewReasonFrom is a reason that follows from another.
func NewReasonFrom(cause *tandemv1.Reason, code tandemv1.Reason_Code, pairs ...any) *tandemv1.Reason {
	r := NewReason(code, pairs...)
	r.Cause = cause
	return r
}

// Args are the arguments of a reason or an event, in pairs of name and value. What is empty, false or not there is left out.
func Args(pairs ...any) map[string]string {
	all := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := Arg(pairs[i+1]); value != "" {
			all[fmt.Sprint(pairs[i])] = value
		}
	}
	return all
}

// Arg is how a value stands in an argument: the same on each machine.
func Arg(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		if !v {
			return ""
		}
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Duration:
		return strconv.FormatFloat(v.Seconds(), 'g', -1, 64)
	}
	return fmt.Sprint(value)
}

// Given is a reason that may have been given as text alone, by a program or in a row of the time before codes; nil: there is none.
func Given(why *tandemv1.Reason, text string) *tandemv1.Reason {
	switch {
	case why.GetCode() != tandemv1.Reason_CODE_UNSPECIFIED:
		return why
	case text != "":
		return NewReason(tandemv1.Reason_CODE_TEXT, "text", text)
	}
	return nil
}
