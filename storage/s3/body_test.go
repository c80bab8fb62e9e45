package s3

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A body is wound back for the next try, and then used by its owner again: a try that is over must not read on.
func TestBodyIsGivenBack(t *testing.T) {
	for name, failure := range map[string]error{"answered before all was read": nil, "failed": errors.New("as planned")} {
		t.Run(name, func(t *testing.T) {
			var kept io.Reader // what the transport goes on with
			transport := lender{roundTrip(func(r *http.Request) (*http.Response, error) {
				kept = r.Body
				if failure != nil {
					return nil, failure
				}
				return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: io.NopCloser(strings.NewReader("busy"))}, nil
			})}
			body := strings.NewReader("body")
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://store/key", io.NopCloser(body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := transport.RoundTrip(req)
			if !errors.Is(err, failure) {
				t.Fatal(err)
			}
			var one [1]byte
			left := body.Len()
			if failure == nil {
				// While the answer is read the connection must not break.
				if _, err := kept.Read(one[:]); err != nil {
					t.Error(err)
				}
				left = body.Len()
				if b, err := io.ReadAll(res.Body); string(b) != "busy" || err != nil {
					t.Errorf("answered %q, %v", b, err)
				}
				if err := res.Body.Close(); err != nil {
					t.Error(err)
				}
			}
			if n, err := kept.Read(one[:]); n != 0 || err == nil || errors.Is(err, io.EOF) || body.Len() != left {
				t.Errorf("%d bytes were read after the end, %v; the body has %d left instead of %d", n, err, body.Len(), left)
			}
		})
	}
}
