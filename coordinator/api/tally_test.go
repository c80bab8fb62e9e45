package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// patient notes by when it has to be written to.
type patient struct {
	http.ResponseWriter
	until time.Time
}

func (p *patient) SetWriteDeadline(at time.Time) error {
	p.until = at
	return nil
}

// TestAnswersHaveToBeRead: an answer by its size, a part of a stream within minutes; the next request of the connection begins anew.
func TestAnswersHaveToBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics(prometheus.NewRegistry())
		for stays, want := range map[bool]time.Duration{false: 15*time.Second + 256*time.Second, true: 5 * time.Minute} {
			w := &patient{ResponseWriter: httptest.NewRecorder()}
			count := m.open(w, call{name: "/test", stays: stays})
			if _, err := count.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
			if got := time.Until(w.until); got != want {
				t.Errorf("stream %v: has to be read within %v, want %v", stays, got, want)
			}
			if count.close(); !w.until.IsZero() {
				t.Errorf("stream %v: the next answer has to be read by %v", stays, w.until)
			}
		}
	})
}
