package fsm

import (
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

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

// words are somebody else's, word for word; nil when there are none.
func words(text string) *tandemv1.Reason {
	if text == "" {
		return nil
	}
	return reason(tandemv1.Reason_CODE_TEXT, "text", text)
}

// given is a reason that may have been given as text alone, by a program or in a row of the time before codes; nil: there is none.
func given(why *tandemv1.Reason, text string) *tandemv1.Reason {
	if why.GetCode() != tandemv1.Reason_CODE_UNSPECIFIED {
		return why
	}
	return words(text)
}

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
