package fsm

import (
	"fmt"
	"strconv"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// reason is a code with its arguments, in pairs of name and value.
func reason(code tandemv1.Reason_Code, pairs ...any) *tandemv1.Reason {
	return &tandemv1.Reason{Code: code, Args: args(pairs...)}
}

// reasonFrom is a reason that follows from another.
func reasonFrom(cause *tandemv1.Reason, code tandemv1.Reason_Code, pairs ...any) *tandemv1.Reason {
	return &tandemv1.Reason{Code: code, Args: args(pairs...), Cause: cause}
}

// args are the arguments of a reason or an event. What is empty, false or not there is left out.
func args(pairs ...any) map[string]string {
	all := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := written(pairs[i+1]); value != "" {
			all[fmt.Sprint(pairs[i])] = value
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// written is how a value stands in an argument: the same on each machine.
func written(value any) string {
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

// refuseFor is the result of a command that was not applied.
func refuseFor(kind tandemv1.RefusalCode, code tandemv1.Reason_Code, pairs ...any) *tandemv1.Result {
	return &tandemv1.Result{Refusal: kind, Why: reason(code, pairs...)}
}
