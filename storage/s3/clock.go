package s3

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
)

// clockTolerance is how far the clocks may be apart before an answer without a reason is put down to them. Servers refuse what is
// signed 15 minutes off, some sooner.
const clockTolerance = 5 * time.Minute

// clock is a transport that remembers how far the server's clock was ahead at its last answer.
type clock struct {
	http.RoundTripper
	ahead atomic.Pointer[time.Duration]
}

func (c *clock) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.RoundTripper.RoundTrip(r)
	if err == nil {
		if there, err := http.ParseTime(res.Header.Get("Date")); err == nil {
			ahead := time.Until(there)
			c.ahead.Store(&ahead)
		}
	}
	return res, err
}

// explain says that a request was refused because the clocks differ; empty: it was not. The answer to a HEAD has no body to say so.
func (c *clock) explain(act string, r minio.ErrorResponse) string {
	ahead := c.ahead.Load()
	said := r.Code == "RequestTimeTooSkewed"
	if !said && (act != "head" || r.StatusCode != http.StatusForbidden || ahead == nil || ahead.Abs() < clockTolerance) {
		return ""
	}
	here := time.Now()
	text := "the store refuses requests because the clocks differ: that of this machine says " + clockText(here)
	if ahead != nil {
		// Dates of HTTP are cut to seconds, and the answer took its time: minutes are what is known.
		text += fmt.Sprintf(", that of the store says %s (%s apart)", clockText(here.Add(*ahead)), ahead.Abs().Round(time.Minute))
	}
	return text + "; set the one that is wrong, for example with NTP"
}

func clockText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
