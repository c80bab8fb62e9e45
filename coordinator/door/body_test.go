package door

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve runs a handler behind h1 or h2 over TLS.
func serve(t *testing.T, h2 bool, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = h2
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// post sends a body and returns the status, or 0 when the connection was closed first.
func post(t *testing.T, s *httptest.Server, body io.Reader) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

// free lets everything be held.
func free(int64) error { return nil }

// each runs a test over HTTP/1.1 and over HTTP/2.
func each(t *testing.T, test func(t *testing.T, h2 bool)) {
	t.Run("h1", func(t *testing.T) { test(t, false) })
	t.Run("h2", func(t *testing.T) { test(t, true) })
}

// TestBodyThatNeverEnds: a client that begins a body and sends no more is let go of, and what it has sent is not lost.
func TestBodyThatNeverEnds(t *testing.T) {
	each(t, func(t *testing.T, h2 bool) {
		got := make(chan string, 1)
		s := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(NewBody(w, r, Pace{Grace: 50 * time.Millisecond, Rate: 1 << 20}, 1000, free))
			if !errors.Is(err, ErrTooSlow) {
				t.Errorf("the body ended with %v", err)
			}
			got <- string(b)
			w.WriteHeader(http.StatusRequestTimeout)
		})
		r, w := io.Pipe()
		defer w.Close()
		go func() { _, _ = io.WriteString(w, "begun") }()
		status := post(t, s, r)
		if b := <-got; b != "begun" || status != http.StatusRequestTimeout && status != 0 {
			t.Errorf("read %q, answered %d", b, status)
		}
	})
}

// TestTrickle: a body of single bytes, each in time, is too slow all the same.
func TestTrickle(t *testing.T) {
	each(t, func(t *testing.T, h2 bool) {
		ended := make(chan struct{})
		s := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			if _, err := io.ReadAll(NewBody(w, r, Pace{Grace: 200 * time.Millisecond, Rate: 1000}, 0, free)); !errors.Is(err, ErrTooSlow) {
				t.Errorf("the body ended with %v", err)
			}
		})
		r, w := io.Pipe()
		go func() {
			for {
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
				select {
				case <-ended:
					_ = w.Close()
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}()
		post(t, s, r)
		<-ended
	})
}

// TestTimeOfTheServerDoesNotCount: a handler that takes its time between two reads, as one that writes to a store does, is not
// taken for a slow client.
func TestTimeOfTheServerDoesNotCount(t *testing.T) {
	each(t, func(t *testing.T, h2 bool) {
		const grace = 300 * time.Millisecond
		s := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			b, buf := NewBody(w, r, Pace{Grace: grace, Rate: 1}, 0, free), make([]byte, 1)
			for range 3 {
				if _, err := io.ReadFull(b, buf); err != nil {
					t.Errorf("read: %v", err)
				}
				<-time.After(grace) // the time that must not count
			}
			if _, err := io.ReadFull(b, buf); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
		if status := post(t, s, strings.NewReader("abc")); status != http.StatusOK {
			t.Errorf("answered %d", status)
		}
	})
}

func TestSizeOfABody(t *testing.T) {
	each(t, func(t *testing.T, h2 bool) {
		s := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(NewBody(w, r, Pace{Grace: time.Minute, Rate: 1}, 10, free))
			switch {
			case errors.Is(err, ErrTooLarge) && len(b) <= 10:
				w.WriteHeader(http.StatusRequestEntityTooLarge)
			case err != nil:
				t.Errorf("read %q: %v", b, err)
			}
		})
		for n, want := range map[int]int{0: 200, 9: 200, 10: 200, 11: 413, 5000: 413} {
			if got := post(t, s, strings.NewReader(strings.Repeat("x", n))); got != want {
				t.Errorf("%d bytes: %d, want %d", n, got, want)
			}
		}
	})
}

// TestConnectionGoesOn: the deadline of one request is none of the next, however long its handler takes.
func TestConnectionGoesOn(t *testing.T) {
	each(t, func(t *testing.T, h2 bool) {
		const grace = 100 * time.Millisecond
		s := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(NewBody(w, r, Pace{Grace: grace, Rate: 1}, 0, free)); err != nil {
				t.Errorf("read: %v", err)
			}
			select {
			case <-r.Context().Done():
				t.Error("the request was given up on")
			case <-time.After(3 * grace):
			}
		})
		for range 2 {
			if got := post(t, s, strings.NewReader("x")); got != 200 {
				t.Errorf("answered %d", got)
			}
		}
	})
}
