package identity

import (
	"errors"
	"net/http"
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
