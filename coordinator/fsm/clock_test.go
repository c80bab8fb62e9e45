package fsm_test

import (
	"strings"
	"testing"
	"time"

	"tandem.dev/proto/say"
)

// TestClocksAreNoted: a clock that is off is in the row of its node or coordinator and in one event; when it is right, so too.
func TestClocksAreNoted(t *testing.T) {
	s, apply := applied(t)
	apply(`1 op register_node {"node": {"id": "node-a", "name": "a", "address": "a:1", "incarnation": 1}}`)
	apply(`1 op observe_coordinators {"coordinators": [{"id": "node-c", "address": "c:1", "alive": true, "voter": true}]}`)
	for range 2 {
		apply(`2 node-c observe_clock {"node_id": "node-a", "offset": "-7200s", "observer": "node-c"}`)
		apply(`2 node-c observe_clock {"node_id": "node-c", "offset": "86400.25s", "observer": "node-c"}`)
	}
	// What else is said of them does not undo it.
	apply(`3 op register_node {"node": {"id": "node-a", "name": "a", "address": "a:1", "incarnation": 2}}`)
	apply(`3 op observe_coordinators {"coordinators": [{"id": "node-c", "address": "c:2", "alive": true, "voter": true}]}`)
	n, _ := s.View().Node("node-a")
	c, _ := s.View().Coordinator("node-c")
	if n.GetClockOffset().AsDuration() != -2*time.Hour || c.GetClockOffset().AsDuration() != 24*time.Hour+250*time.Millisecond {
		t.Errorf("the rows say %v and %v", n.GetClockOffset(), c.GetClockOffset())
	}
	for range 2 {
		apply(`4 node-c observe_clock {"node_id": "node-a", "observer": "node-c"}`)
		apply(`4 node-c observe_clock {"node_id": "node-c", "observer": "node-c"}`)
	}
	n, _ = s.View().Node("node-a")
	c, _ = s.View().Coordinator("node-c")
	if n.GetClockOffset() != nil || c.GetClockOffset() != nil {
		t.Errorf("the rows still say %v and %v", n.GetClockOffset(), c.GetClockOffset())
	}
	var said []string
	for _, e := range s.View().Events(20) {
		if text := say.Event(e, say.Plain); strings.Contains(text, "clock") {
			said = append(said, e.GetLevel()+": "+text)
		}
	}
	want := []string{
		"warning: The clock of node a is 2h0m0s behind the coordinators' time, as node-c hears it: set the clock that is wrong, for example with NTP.",
		"warning: The clock of coordinator node-c is 24h0m0s ahead of the coordinators' time, as node-c hears it: set the clock that is wrong, for example with NTP.",
		"info: The clock of node a agrees with the coordinators' time again.",
		"info: The clock of coordinator node-c agrees with the coordinators' time again.",
	}
	sameTexts(t, said, want)
}

// sameTexts compares texts whatever their order.
func sameTexts(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d texts, not %d: %q", len(got), len(want), got)
	}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "\n"), w) {
			t.Errorf("%q is missing in %q", w, got)
		}
	}
}
