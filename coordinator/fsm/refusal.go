package fsm

import tandemv1 "tandem.dev/proto/tandem/v1"

// The kinds of refusal.
const (
	codeNotFound     = tandemv1.RefusalCode_REFUSAL_CODE_NOT_FOUND
	codeExists       = tandemv1.RefusalCode_REFUSAL_CODE_ALREADY_EXISTS
	codePrecondition = tandemv1.RefusalCode_REFUSAL_CODE_FAILED_PRECONDITION
	codeStale        = tandemv1.RefusalCode_REFUSAL_CODE_STALE
	codeInvalid      = tandemv1.RefusalCode_REFUSAL_CODE_INVALID
)

// refusal says that a command, or a part of one, is not carried out: its kind, for programs, and why. It is the only way to say so;
// nil says that nothing speaks against it.
type refusal struct {
	code tandemv1.RefusalCode
	why  *tandemv1.Reason
}

// refuse refuses for a reason.
func refuse(code tandemv1.RefusalCode, why tandemv1.Reason_Code, pairs ...any) *refusal {
	return &refusal{code, reason(why, pairs...)}
}

// refuseFrom refuses what the state does not allow, for a cause.
func refuseFrom(cause *tandemv1.Reason, why tandemv1.Reason_Code, pairs ...any) *refusal {
	return &refusal{codePrecondition, reasonFrom(cause, why, pairs...)}
}

// part is what stands in a result for a part of its command: an empty reason, unless it was refused.
func (r *refusal) part() *tandemv1.Reason {
	if r == nil {
		return &tandemv1.Reason{}
	}
	return r.why
}

// done is the result of a command that was applied to id.
func done(id string) *tandemv1.Result { return &tandemv1.Result{Id: id} }

// answered is the answer of a handler: its result, or why it did nothing, beside what it has to say of the parts.
func answered(result *tandemv1.Result, no *refusal) *tandemv1.Result {
	if no == nil {
		return result
	}
	if result == nil {
		result = &tandemv1.Result{}
	}
	result.Refusal, result.Why = no.code, no.why
	return result
}
