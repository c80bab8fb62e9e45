package say

import (
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Error is the error of an API that refuses something for a reason: its text, and the code and arguments as a detail. err is what it
// wraps.
func Error(code connect.Code, r *tandemv1.Reason, err error) *connect.Error {
	ce := connect.NewError(code, err)
	if detail, err := connect.NewErrorDetail(r); err == nil {
		ce.AddDetail(detail)
	}
	return ce
}

// Advised is an error of an API as a face tells it, if it came with a reason; all others, and nil, are passed on.
func Advised(err error, f Face) error {
	if r := ReasonOf(err); r != nil {
		return Error(connect.CodeOf(err), r, errors.New(Clause(r, f)))
	}
	return err
}

// ReasonOf is the reason that an error of an API came with; nil: none.
func ReasonOf(err error) *tandemv1.Reason {
	ce := (*connect.Error)(nil)
	if !errors.As(err, &ce) {
		return nil
	}
	for _, d := range ce.Details() {
		m, bad := d.Value()
		if r, ok := m.(*tandemv1.Reason); bad == nil && ok {
			return r
		}
	}
	return nil
}

// StoreFault is the reason that an outage of the store is, with its first words; full: it has no room.
func StoreFault(err error, full bool) *tandemv1.Reason {
	code := tandemv1.Reason_CODE_STORE_AWAY
	if full {
		code = tandemv1.Reason_CODE_STORE_FULL
	}
	words := strings.ToValidUTF8(fmt.Sprintf("%.400s", err), "")
	return &tandemv1.Reason{Code: code, Cause: &tandemv1.Reason{Code: tandemv1.Reason_CODE_TEXT, Args: map[string]string{"text": words}}}
}
