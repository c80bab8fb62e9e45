package rest

import (
	"encoding/json"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/anypb"

	"tandem.dev/proto/plain"
)

// WriteStatus answers with a status and an error of the form of ErrorJSON.
func WriteStatus(w http.ResponseWriter, status int, code connect.Code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	b, _ := ErrorJSON(code, message, nil) // texts alone
	_, _ = w.Write(append(b, '\n'))       // the client is gone: nobody to tell
}

// ErrorJSON is the form of all errors outside of procedures: {"code": "not_found", "message": text, "error": text}, which clients of REST and
// of the inference protocol understand alike, and the details, where there are any.
func ErrorJSON(code connect.Code, message string, details []*anypb.Any) ([]byte, error) {
	form := struct {
		Code    string            `json:"code"`
		Message string            `json:"message"`
		Error   string            `json:"error"`
		Details []json.RawMessage `json:"details,omitempty"`
	}{Code: code.String(), Message: message, Error: message}
	for _, d := range details {
		b, err := plain.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("encode the details of an error: %w", err)
		}
		form.Details = append(form.Details, b)
	}
	return json.Marshal(form)
}

// Status is the status of HTTP for a code.
func Status(c connect.Code) int {
	switch c {
	case connect.CodeInvalidArgument, connect.CodeOutOfRange, connect.CodeFailedPrecondition:
		return http.StatusBadRequest
	case connect.CodeUnauthenticated:
		return http.StatusUnauthorized
	case connect.CodePermissionDenied:
		return http.StatusForbidden
	case connect.CodeNotFound:
		return http.StatusNotFound
	case connect.CodeAlreadyExists, connect.CodeAborted:
		return http.StatusConflict
	case connect.CodeResourceExhausted:
		return http.StatusTooManyRequests
	case connect.CodeDeadlineExceeded:
		return http.StatusGatewayTimeout
	case connect.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
