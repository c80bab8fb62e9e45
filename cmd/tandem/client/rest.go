package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/input"
)

const (
	// maxAnswer is how many bytes an answer, or a message of a stream, may have, unpacked.
	maxAnswer = 256 << 20
	// maxRefusal is how many bytes are read of an answer that says why it is none.
	maxRefusal = 64 << 10
)

// REST asks a path of the API and returns the body. It repeats what is harmless to do twice while no coordinator can
// serve. What the cluster refuses is a *connect.Error with its code and words.
func (c *Client) REST(ctx context.Context, method, path string, body []byte, harmless bool) ([]byte, error) {
	start := time.Now()
	for {
		answer, err := c.rest(ctx, method, path, body)
		if over(ctx, err) {
			return nil, ended(ctx, err)
		}
		if err == nil || !Lost(err) || !harmless && !refused(err) {
			return answer, c.Explain(err)
		}
		if time.Since(start)+c.Patience.Pause > c.Patience.With(err) {
			return nil, c.Explain(err)
		}
		if Sleep(ctx, c.Patience.Pause) != nil {
			return nil, ended(ctx, err)
		}
	}
}

func (c *Client) rest(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, BaseURL+path, bytes.NewReader(body))
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	res, err := c.HTTP.Do(req)
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		answer, err := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
		if err != nil {
			return nil, connect.NewError(connect.CodeUnavailable, err)
		}
		return nil, connect.NewError(codeOf(res.StatusCode), errors.New(words(answer, res.Status)))
	}
	answer, err := input.Read(res.Body, "the answer", maxAnswer)
	switch {
	case errors.Is(err, input.ErrTooLarge):
		return nil, connect.NewError(connect.CodeResourceExhausted, err)
	case err != nil:
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	return answer, nil
}

// words finds what an error says: {"error": "..."} of the inference protocol, {"message": "..."} of the API.
func words(body []byte, status string) string {
	var e struct {
		Error   any    `json:"error"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &e) == nil {
		if text, ok := e.Error.(string); ok && text != "" {
			return text
		}
		if e.Message != "" {
			return e.Message
		}
	}
	if text := bytes.TrimSpace(body); len(text) > 0 && len(text) < 1000 {
		return fmt.Sprintf("%s: %s", status, text)
	}
	return status
}

func codeOf(status int) connect.Code {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusMethodNotAllowed:
		return connect.CodeInvalidArgument
	case http.StatusUnauthorized:
		return connect.CodeUnauthenticated
	case http.StatusForbidden:
		return connect.CodePermissionDenied
	case http.StatusNotFound:
		return connect.CodeNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return connect.CodeFailedPrecondition
	case http.StatusTooManyRequests:
		return connect.CodeResourceExhausted
	case http.StatusServiceUnavailable, http.StatusBadGateway:
		return connect.CodeUnavailable
	case http.StatusGatewayTimeout:
		return connect.CodeDeadlineExceeded
	case http.StatusNotImplemented:
		return connect.CodeUnimplemented
	}
	return connect.CodeUnknown
}
