package s3

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"tandem.dev/storage"
)

// late is a server whose clock is a day ahead, and which refuses requests with a status and a code.
func late(t *testing.T, ahead time.Duration, status int, code string) *Store {
	t.Helper()
	c := fake(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			answer(status, code)(w, r, nil)
		})
	})
	c.Tries = 1
	return open(t, c)
}

// TestClocksOfStoreAndClientDiffer: the store refuses what was signed at another time than it believes to be now. That is no lack of rights:
// the error names both clocks.
func TestClocksOfStoreAndClientDiffer(t *testing.T) {
	calls := map[string]func(*Store) error{
		"head":  func(s *Store) error { _, err := s.Head(t.Context(), "k"); return err }, // its answer has no body that could say why
		"get":   func(s *Store) error { _, err := storage.ReadAll(t.Context(), s, "k", 10); return err },
		"put":   func(s *Store) error { return s.PutIfAbsent(t.Context(), "k", nil) },
		"probe": func(s *Store) error { return storage.Probe(t.Context(), s) },
	}
	for name, call := range calls {
		err := call(late(t, 24*time.Hour, http.StatusForbidden, "RequestTimeTooSkewed"))
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
		there := time.Now().Add(24 * time.Hour).UTC().Format("2006-01-02 ")
		for _, want := range []string{"the clocks differ", time.Now().UTC().Format("says 2006-01-02 "), "the store says " + there, "24h0m0s apart", "NTP"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v: %q is not said", name, err, want)
			}
		}
	}
	for name, call := range calls {
		if err := call(late(t, 0, http.StatusForbidden, "AccessDenied")); !errors.Is(err, storage.ErrDenied) || strings.Contains(err.Error(), "clocks") {
			t.Errorf("%s: denied for lack of rights: %v", name, err)
		}
	}
	// A code that says otherwise is believed, whatever the clock.
	if err := calls["put"](late(t, 24*time.Hour, http.StatusForbidden, "AccessDenied")); !errors.Is(err, storage.ErrDenied) {
		t.Errorf("denied for lack of rights by a store whose clock is off: %v", err)
	}
}
