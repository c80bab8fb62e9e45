package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestSkew: what counts is what two measurements in a row agree on, for a message may have waited on its way.
func TestSkew(t *testing.T) {
	const h = time.Hour
	for name, tc := range map[string]struct {
		offsets []time.Duration // one every five seconds
		want    time.Duration
		known   bool
	}{
		"one is too few":          {[]time.Duration{-2 * h}, 0, false},
		"behind":                  {[]time.Duration{-2 * h, -2*h - time.Second}, -2 * h, true},
		"ahead":                   {[]time.Duration{h + time.Minute, h}, h, true},
		"within the tolerance":    {[]time.Duration{4 * time.Minute, ClockTolerance - 1}, 0, true},
		"at the tolerance":        {[]time.Duration{-ClockTolerance, -ClockTolerance}, -ClockTolerance, true},
		"one message has waited":  {[]time.Duration{0, -h, 0}, 0, true},
		"the clock was set":       {[]time.Duration{-2 * h, -2 * h, time.Second}, 0, true},
		"first ahead then behind": {[]time.Duration{h, -h}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s Skew
				for _, offset := range tc.offsets {
					s.See(offset, time.Now())
					time.Sleep(5 * time.Second)
				}
				if s.Offset != tc.want || s.Known != tc.known {
					t.Errorf("offset %v, known %v; want %v, %v", s.Offset, s.Known, tc.want, tc.known)
				}
			})
		})
	}
}

// TestSkewOfMessagesTogether: those that come at once may have waited in the same queue, and count as one.
func TestSkewOfMessagesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Skew
		for range 5 {
			s.See(-time.Hour, time.Now())
			time.Sleep(measureAgain / 10)
		}
		if s.Known {
			t.Error("five messages within half a second count as more than one")
		}
	})
}

func TestSkewIsNews(t *testing.T) {
	for _, tc := range []struct {
		known, seen time.Duration
		want        bool
	}{
		{0, 0, false},
		{0, ClockTolerance, true},
		{time.Hour, 0, true},
		{time.Hour, time.Hour + ClockTolerance - 1, false},
		{time.Hour, time.Hour + ClockTolerance, true},
		{time.Hour, -time.Hour, true},
	} {
		if got := SkewIsNews(tc.known, tc.seen); got != tc.want {
			t.Errorf("known %v, seen %v: %v", tc.known, tc.seen, got)
		}
	}
}

func TestClockError(t *testing.T) {
	here := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cause := errors.New("x509: certificate has expired or is not yet valid")
	err := &ClockError{Peer: "10.0.0.1:7070", Here: here, There: here.Add(2*time.Hour + time.Minute), Err: cause}
	const want = "the clocks differ by 2h1m0s: that of this machine says 2026-03-01 12:00:00 UTC, that of 10.0.0.1:7070 says 2026-03-01 14:01:00 UTC; " +
		"set the one that is wrong, for example with NTP (x509: certificate has expired or is not yet valid)"
	if err.Error() != want || !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}

func TestClockOffset(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"2026-03-01T14:00:00.5Z":    2*time.Hour + time.Second/2,
		"2026-03-01T10:00:00-01:00": -time.Hour,
	} {
		h := http.Header{}
		h.Set(TimeHeader, value)
		if got, ok := ClockOffset(h, now); !ok || got != want {
			t.Errorf("%s: %v, %v", value, got, ok)
		}
	}
	for _, value := range []string{"", "yesterday"} {
		h := http.Header{}
		h.Set(TimeHeader, value)
		if got, ok := ClockOffset(h, now); ok {
			t.Errorf("%q counts as %v", value, got)
		}
	}
}

// TestRefusedCertificateHasManyErrors: the other side's alert races with what is written to it, and which error comes is chance. A
// connection that could not be made, or that nobody ended, has nothing to do with dates.
func TestRefusedCertificateHasManyErrors(t *testing.T) {
	ours := errors.New("tls: bad certificate")
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{&net.OpError{Op: "remote error", Err: ours}, true},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, true},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, true},
		{fmt.Errorf("read the answer: %w", io.EOF), true},
		{errors.New(notEstablished), true},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, false},
		{context.DeadlineExceeded, false},
		{ours, false},
	} {
		if _, suspect := suspectDates(tc.err); suspect != tc.want {
			t.Errorf("%v: suspect %v", tc.err, suspect)
		}
	}
}

// TestCertificateIsRefused: what net/http makes of a connection that the other side refuses is suspect, whichever error it is.
func TestCertificateIsRefused(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS() // for its certificate
	creds := srv.TLS.Clone()
	creds.ClientAuth = tls.RequireAnyClientCert
	srv.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", creds)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	for range 100 {
		c := &http.Client{Transport: Transport(&tls.Config{InsecureSkipVerify: true})} //nolint:gosec // it is our own listener
		_, err := c.Get("https://" + l.Addr().String())                                //nolint:bodyclose // there is no answer
		if err == nil {
			t.Fatal("a connection that ended was answered")
		}
		if _, suspect := suspectDates(errors.Unwrap(err)); !suspect {
			t.Fatalf("%v is not suspect", err)
		}
	}
}
