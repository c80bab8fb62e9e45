package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// reason is a code with its arguments, in pairs of name and value.
func reason(code tandemv1.Reason_Code, pairs ...string) *tandemv1.Reason {
	r := &tandemv1.Reason{Code: code, Args: map[string]string{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		r.Args[pairs[i]] = pairs[i+1]
	}
	return r
}

// reasonFrom is a reason that follows from another.
func reasonFrom(cause *tandemv1.Reason, code tandemv1.Reason_Code, pairs ...string) *tandemv1.Reason {
	r := reason(code, pairs...)
	r.Cause = cause
	return r
}
