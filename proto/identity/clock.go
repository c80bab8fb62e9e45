package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

const (
	// TimeHeader is on what the programs of a cluster ask each other: what the sender's clock says, in RFC 3339.
	TimeHeader = "Tandem-Time"
	// ClockTolerance is how far two clocks may be apart before somebody is told. An S3-compatible store refuses what is 15 minutes off.
	ClockTolerance = 5 * time.Minute
	// measureAgain is the time after which a measurement is a new one. What comes sooner may have waited in the same queue.
	measureAgain = time.Second
	// askTimeLimit is for one question of what time it is.
	askTimeLimit = 3 * time.Second
)

// ClockOffset is how far the clock of a request's sender is ahead of now (negative: behind); false when the request does not say.
func ClockOffset(h http.Header, now time.Time) (time.Duration, bool) {
	there, err := time.Parse(time.RFC3339Nano, h.Get(TimeHeader))
	if err != nil {
		return 0, false
	}
	return there.Sub(now), true
}

// Skew is how far another clock is ahead of one's own. A message may have waited, so what counts is what two measurements in a row
// agree on.
type Skew struct {
	// Known says that there were two.
	Known bool
	// Offset is how far the other clock is ahead (negative: behind); 0 within the tolerance.
	Offset time.Duration

	at   time.Time // of the last measurement
	last time.Duration
}

// See takes a measurement.
func (s *Skew) See(offset time.Duration, now time.Time) {
	if s.at.IsZero() {
		s.at, s.last = now, offset
		return
	}
	both := nearer(s.last, offset)
	if now.Sub(s.at) < measureAgain {
		s.last = both
		return
	}
	s.Known, s.Offset = true, WithoutTolerance(both)
	s.at, s.last = now, offset
}

// nearer is what two measurements agree on.
func nearer(a, b time.Duration) time.Duration {
	switch {
	case a > 0 != (b > 0):
		return 0
	case a.Abs() < b.Abs():
		return a
	}
	return b
}

// WithoutTolerance is an offset that matters, or 0.
func WithoutTolerance(offset time.Duration) time.Duration {
	if offset.Abs() < ClockTolerance {
		return 0
	}
	return offset
}

// SkewIsNews says whether who knows one offset should be told of another. Both are without tolerance.
func SkewIsNews(known, seen time.Duration) bool {
	return (known == 0) != (seen == 0) || (known-seen).Abs() >= ClockTolerance
}

// ClockError means that something failed because two clocks are too far apart. Nobody knows which one is wrong.
type ClockError struct {
	Whose string    // whose clock the one here is; empty: this machine's
	Peer  string    // whose clock the other one is
	Here  time.Time // what this machine's clock said
	There time.Time // what the other clock said then
	Err   error     // what failed; nil: nothing but the comparison
}

// Error implements error.
func (e *ClockError) Error() string {
	whose := e.Whose
	if whose == "" {
		whose = "this machine"
	}
	text := fmt.Sprintf("the clocks differ by %s: that of %s says %s, that of %s says %s; set the one that is wrong, for example with NTP",
		e.Here.Sub(e.There).Abs().Round(time.Second), whose, clockText(e.Here), e.Peer, clockText(e.There))
	if e.Err != nil {
		text += " (" + e.Err.Error() + ")"
	}
	return text
}

// Unwrap is what failed.
func (e *ClockError) Unwrap() error { return e.Err }

func clockText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// trust returns the TLS settings of a connection whose certificates must be valid at a time; the zero time is now.
type trust func(at time.Time) *tls.Config

// trusting returns a trust made from the settings for now.
func trusting(cfg *tls.Config) trust {
	return func(at time.Time) *tls.Config {
		if at.IsZero() || cfg == nil {
			return cfg
		}
		c := cfg.Clone()
		c.Time = func() time.Time { return at }
		return c
	}
}

// explainDates finds out whether a connection failed because clocks differ, and returns a ClockError then. It asks the other side what
// time it is, and so tells it what time it is here: nothing secret is said to it, and it has to prove by all but its certificate's dates
// that it is who was called. Other errors are returned as they are.
func explainDates(ctx context.Context, err error, host string, trust trust) error {
	at, suspect := suspectDates(err)
	if !suspect {
		return err
	}
	cfg := trust(at)
	if cfg == nil {
		return err
	}
	for range 2 {
		there, here, asked := askTime(ctx, cfg, host)
		switch {
		case asked != nil: // it may be our certificate that is not valid there
			cfg = cfg.Clone()
			cfg.Certificates, cfg.GetClientCertificate = nil, nil
		case there.Sub(here).Abs() < ClockTolerance:
			return err
		default:
			return &ClockError{Peer: host, Here: here, There: there, Err: err}
		}
	}
	return err
}

// suspectDates says whether an error may come from the dates of certificates, and a time at which the other side's is valid; zero: now.
func suspectDates(err error) (at time.Time, suspect bool) {
	var invalid x509.CertificateInvalidError
	var op *net.OpError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		if time.Now().Before(invalid.Cert.NotBefore) {
			return invalid.Cert.NotBefore.Add(time.Second), true
		}
		return invalid.Cert.NotAfter.Add(-time.Second), true
	case errors.As(err, &op) && op.Op == "remote error": // crypto/tls names no kind: it may be that our certificate is not valid there
		return time.Time{}, true
	}
	return time.Time{}, endedBeforeAnswer(err)
}

// endedBeforeAnswer says whether the other side ended a connection before it said anything. That may be a refused certificate too: its
// alert comes after our side of the handshake, and what we write then may fail before the alert is read.
func endedBeforeAnswer(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return err.Error() == notEstablished
}

// notEstablished is what net/http says when a connection ended before HTTP/2 began. It does not say why, and exports no such error.
const notEstablished = "http2: client conn could not be established"

// askTime asks a host what time it is, by the Date of its answer. Halfway between question and answer counts as here.
func askTime(ctx context.Context, cfg *tls.Config, host string) (there, here time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/livez", nil)
	if err != nil {
		return there, here, fmt.Errorf("ask what time it is: %w", err)
	}
	t := Transport(cfg)
	defer t.CloseIdleConnections()
	began := time.Now()
	req.Header.Set(TimeHeader, began.Format(time.RFC3339Nano))
	res, err := t.RoundTrip(req)
	if err != nil {
		return there, here, fmt.Errorf("ask what time it is: %w", err)
	}
	_, _ = io.CopyN(io.Discard, res.Body, 1<<10) // its header says all
	_ = res.Body.Close()
	there, err = http.ParseTime(res.Header.Get("Date"))
	return there, began.Add(time.Since(began) / 2), err
}
