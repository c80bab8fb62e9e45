package identity

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"tandem.dev/proto/schema"
)

// LevelHeader is on what the programs of a cluster ask a coordinator: the highest feature level that the sender knows. On the
// answer to those it knows it is the cluster's level.
const LevelHeader = "Tandem-Level"

// ProjectHeader is on what a client asks: the project that the call is in, "*" for all that its token gives access to. Without it the
// call is in the project of the token, or in the default one where the token has all.
const ProjectHeader = "Tandem-Project"

// Speaker is a transport that says with each request which feature level this program knows and what its clock says, and remembers the
// last level of a cluster that it heard. Where a connection fails because clocks differ, its errors say so: see ClockError.
type Speaker struct {
	*http.Transport
	trust trust
	heard atomic.Int32
}

// Speak returns a Speaker over a transport.
func Speak(t *http.Transport) *Speaker { return speak(t, trusting(t.TLSClientConfig)) }

// speak is Speak for a transport that makes its connections with settings of its own.
func speak(t *http.Transport, trust trust) *Speaker { return &Speaker{Transport: t, trust: trust} }

// RoundTrip implements http.RoundTripper.
func (s *Speaker) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(LevelHeader, strconv.Itoa(schema.Known))
	r.Header.Set(TimeHeader, time.Now().Format(time.RFC3339Nano))
	res, err := s.Transport.RoundTrip(r)
	if err != nil {
		err = explainDates(r.Context(), err, r.URL.Host, s.trust)
	} else {
		if level, err := strconv.ParseInt(res.Header.Get(LevelHeader), 10, 32); err == nil {
			s.heard.Store(int32(level))
		}
	}
	return res, err
}

// Level is the feature level up to which the cluster can be spoken to: its own, or one that any coordinator knows that is not
// too far away, as long as nothing was heard.
func (s *Speaker) Level() int {
	if heard := int(s.heard.Load()); heard > 0 {
		return min(heard, schema.Known)
	}
	return max(schema.Base, schema.Known-1)
}
