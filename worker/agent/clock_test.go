package agent

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// TestClock: an agent says in its log when its clock and a coordinator's differ, once, and when they agree again; and the coordinator gets
// a message for each of its own, so that it hears the agent's time.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		told := 0
		c := &clock{tell: func() { told++ }, log: zerolog.New(&log)}
		for range 3 {
			c.see(nil, time.Now()) // a coordinator of the release before says no time
		}
		hear := func(ahead time.Duration) {
			c.see(timestamppb.New(time.Now().Add(ahead)), time.Now())
			time.Sleep(5 * time.Second)
		}
		hear(-time.Second)
		hear(2 * time.Hour) // it may have waited
		if log.Len() > 0 {
			t.Errorf("it says %q", &log)
		}
		for range 5 {
			hear(2 * time.Hour)
		}
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "clocks of this machine and of the coordinator differ") ||
			!strings.Contains(text, `"coordinator_ahead_by":"2h0m0s"`) || !strings.Contains(text, `"here":`) || !strings.Contains(text, `"coordinator":`) {
			t.Errorf("it says %q", text)
		}
		log.Reset()
		hear(0)
		hear(0)
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "agree again") {
			t.Errorf("it says %q", text)
		}
		if told != 9 {
			t.Errorf("of 9 messages with a time %d were answered", told)
		}
	})
}
