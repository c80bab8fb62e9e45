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

// CodeOf is the code of Connect for an answer that no procedure made, such as that to a body that is not JSON.
func CodeOf(status int) string {
	switch {
	case status < http.StatusBadRequest: // 0: an answer without a header of its own
		return "ok"
	case status == http.StatusUnauthorized:
		return connect.CodeUnauthenticated.String()
	case status == http.StatusForbidden:
		return connect.CodePermissionDenied.String()
	case status == http.StatusNotFound:
		return connect.CodeNotFound.String()
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		return connect.CodeDeadlineExceeded.String()
	case status == http.StatusTooManyRequests, status == http.StatusRequestEntityTooLarge:
		return connect.CodeResourceExhausted.String()
	case status == http.StatusMethodNotAllowed, status == http.StatusUnsupportedMediaType, status == http.StatusNotImplemented:
		return connect.CodeUnimplemented.String()
	case status < http.StatusInternalServerError:
		return connect.CodeInvalidArgument.String()
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable:
		return connect.CodeUnavailable.String()
	}
	return connect.CodeInternal.String()
}
