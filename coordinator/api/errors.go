package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/door"
	"tandem.dev/coordinator/rest"
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/limit"
	lists "tandem.dev/proto/page"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/dataset"
)

// errInvalid marks what cannot be right whatever the state.
var errInvalid = errors.New("invalid request")

// errPrecondition marks what the state does not allow.
var errPrecondition = errors.New("not possible now")

// plainError has a message for people and a sentinel for the table, which the message does not repeat.
type plainError struct {
	kind    error
	message string
}

func (e *plainError) Error() string { return e.message }
func (e *plainError) Unwrap() error { return e.kind }

func invalid(message string) error { return &plainError{errInvalid, message} }

func precondition(message string) error { return &plainError{errPrecondition, message} }

// codes maps errors to codes: the first that matches counts.
func codes() []struct {
	err  error
	code connect.Code
} {
	return []struct {
		err  error
		code connect.Code
	}{
		{ErrUnauthenticated, connect.CodeUnauthenticated},
		{ErrDenied, connect.CodePermissionDenied},
		{errInvalid, connect.CodeInvalidArgument},
		{limit.ErrLimit, connect.CodeInvalidArgument},
		{lists.ErrToken, connect.CodeInvalidArgument},
		{door.ErrBusy, connect.CodeResourceExhausted},
		{errPrecondition, connect.CodeFailedPrecondition},
		{state.ErrNotFound, connect.CodeNotFound},
		{state.ErrAmbiguous, connect.CodeInvalidArgument},
		{consensus.ErrNotLeader, connect.CodeUnavailable},
		{consensus.ErrNoLeader, connect.CodeUnavailable},
		{consensus.ErrUncertain, connect.CodeAborted},
		{consensus.ErrDisk, connect.CodeUnavailable},
		{consensus.ErrInvalid, connect.CodeInvalidArgument},
		{consensus.ErrLevel, connect.CodeFailedPrecondition},
		{ckpt.ErrCorrupt, connect.CodeDataLoss},
		{ckpt.ErrForeign, connect.CodeDataLoss},
		{dataset.ErrCorrupt, connect.CodeDataLoss},
		{storage.ErrFull, connect.CodeResourceExhausted},
		{storage.ErrUnavailable, connect.CodeUnavailable},
		{storage.ErrNotFound, connect.CodeNotFound},
		{storage.ErrInvalidKey, connect.CodeInvalidArgument},
		{storage.ErrSize, connect.CodeInvalidArgument},
		{context.Canceled, connect.CodeCanceled},
		{context.DeadlineExceeded, connect.CodeDeadlineExceeded},
	}
}

// refusedAs says whether the state machine refused a command with a code.
func refusedAs(err error, code connect.Code) bool {
	re := (*refusal)(nil)
	return errors.As(err, &re) && re.code == code
}

// connectError gives an error its code; what is in no table is internal.
func connectError(err error) error {
	if ce := (*connect.Error)(nil); errors.As(err, &ce) {
		return ce
	}
	if se := (*spec.Error)(nil); errors.As(err, &se) {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	if re := (*refusal)(nil); errors.As(err, &re) {
		return say.Error(re.code, re.why, err)
	}
	why := (*state.Unresolved)(nil)
	for _, c := range codes() {
		if errors.Is(err, c.err) {
			if errors.As(err, &why) {
				return say.Error(c.code, why.Why, err)
			}
			if errors.Is(c.err, storage.ErrUnavailable) || errors.Is(c.err, storage.ErrFull) {
				fault := say.StoreFault(err, errors.Is(err, storage.ErrFull))
				return say.Error(c.code, fault, fmt.Errorf("%s: %w", say.Clause(&tandemv1.Reason{Code: fault.GetCode()}, say.Plain), err))
			}
			ce := connect.NewError(c.code, err)
			if errors.Is(c.err, consensus.ErrNotLeader) || errors.Is(c.err, consensus.ErrNoLeader) || errors.Is(c.err, consensus.ErrDisk) {
				ce.Meta().Set(identity.NothingProposed, "1")
			}
			return ce
		}
	}
	return connect.NewError(connect.CodeInternal, err)
}

// refusal is the answer of the state machine to a command that it did not apply.
type refusal struct {
	code connect.Code
	why  *tandemv1.Reason
}

func (r *refusal) Error() string { return say.Clause(r.why, say.Plain) }

func refused(res *tandemv1.Result) error {
	why := res.GetWhy()
	if why.GetCode() == tandemv1.Reason_CODE_UNSPECIFIED {
		why = textOnly(res.GetMessage())
	}
	switch res.GetRefusal() {
	case tandemv1.RefusalCode_REFUSAL_CODE_UNSPECIFIED:
		return nil
	case tandemv1.RefusalCode_REFUSAL_CODE_NOT_FOUND:
		return &refusal{connect.CodeNotFound, why}
	case tandemv1.RefusalCode_REFUSAL_CODE_ALREADY_EXISTS:
		return &refusal{connect.CodeAlreadyExists, why}
	case tandemv1.RefusalCode_REFUSAL_CODE_FAILED_PRECONDITION, tandemv1.RefusalCode_REFUSAL_CODE_STALE:
		return &refusal{connect.CodeFailedPrecondition, why}
	case tandemv1.RefusalCode_REFUSAL_CODE_INVALID:
		return &refusal{connect.CodeInvalidArgument, why}
	}
	return &refusal{connect.CodeInternal, why}
}

// textOnly is the reason of a result of the time before codes.
func textOnly(text string) *tandemv1.Reason {
	return &tandemv1.Reason{Code: tandemv1.Reason_CODE_TEXT, Args: map[string]string{"text": text}}
}

// writeError answers a request as its protocol does: a call of a procedure as Connect or gRPC, anything else with
// rest.ErrorJSON.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	ce := (*connect.Error)(nil)
	if err = connectError(err); !errors.As(err, &ce) {
		return // it is one
	}
	if ce.Code() == connect.CodeUnauthenticated {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tandem"`)
	}
	if errors.Is(err, door.ErrBusy) {
		w.Header().Set("Retry-After", "1")
	}
	if ew := connect.NewErrorWriter(); strings.HasPrefix(r.URL.Path, rest.ProcedurePrefix) && ew.IsSupported(r) {
		_ = ew.Write(w, r, err) // the client is gone: nobody to tell
		return
	}
	rest.WriteStatus(w, rest.Status(ce.Code()), ce.Code(), ce.Message())
}
