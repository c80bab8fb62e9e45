package board

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// known is a state with a worker w and coordinators a, b and c, of whose clocks it is known how far they are off, and whether they are alive.
func known(t *testing.T, off map[string]time.Duration, alive string) *state.View {
	t.Helper()
	offset := func(id string) *durationpb.Duration {
		if off[id] == 0 {
			return nil
		}
		return durationpb.New(off[id])
	}
	rows := []proto.Message{&tandemv1.Node{Id: "w", ClockOffset: offset("w")}}
	for _, id := range []string{"a", "b", "c"} {
		rows = append(rows, &tandemv1.Coordinator{Id: id, ClockOffset: offset(id), Alive: strings.Contains(alive, id)})
	}
	s := state.New()
	tx := s.Begin()
	tx.SetIndex(1)
	for _, r := range rows {
		tx.Put(r)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return s.View()
}

// TestClockNews: what coordinator a tells the cluster of what it has heard.
func TestClockNews(t *testing.T) {
	const h = time.Hour
	for name, tc := range map[string]struct {
		heard map[string]time.Duration // how far the clocks of others are ahead of a's
		known map[string]time.Duration
		want  map[string]time.Duration // 0: it is right
		own   time.Duration
		alive string // of the coordinators; none: it is alone
	}{
		"all agree":                 {heard: map[string]time.Duration{"b": time.Second, "c": -time.Second, "w": 4 * time.Minute}},
		"a worker is behind":        {heard: map[string]time.Duration{"b": 0, "w": -2 * h}, want: map[string]time.Duration{"w": -2 * h}},
		"one of three is ahead":     {heard: map[string]time.Duration{"b": 24 * h, "c": 0}, want: map[string]time.Duration{"b": 24 * h}},
		"it is its own":             {heard: map[string]time.Duration{"b": 2 * h, "c": 2 * h, "w": 2 * h}, want: map[string]time.Duration{"a": -2 * h}, own: -2 * h},
		"of two, it trusts its own": {heard: map[string]time.Duration{"b": h}, want: map[string]time.Duration{"b": h}},
		"known already":             {heard: map[string]time.Duration{"b": 0, "w": -2 * h}, known: map[string]time.Duration{"w": -2*h + time.Minute}},
		"it has moved on":           {heard: map[string]time.Duration{"b": 0, "w": -2 * h}, known: map[string]time.Duration{"w": -h}, want: map[string]time.Duration{"w": -2 * h}},
		"right again":               {heard: map[string]time.Duration{"b": 0, "w": 0}, known: map[string]time.Duration{"w": -h, "b": h}, want: map[string]time.Duration{"w": 0, "b": 0}},
		"its own is right again":    {heard: map[string]time.Duration{"b": 0, "c": 0}, known: map[string]time.Duration{"a": h}, want: map[string]time.Duration{"a": 0}},
		"a stranger":                {heard: map[string]time.Duration{"x": h}},
		"it has heard nobody":       {known: map[string]time.Duration{"a": h}},
		// One that was started again knows its own clock only at first: what it does not know yet is not right again, nor wrong.
		"its own, before it has heard the others": {heard: map[string]time.Duration{"w": -h}, known: map[string]time.Duration{"a": h}, alive: "abc"},
		"its own, before it has heard all":        {heard: map[string]time.Duration{"b": -h, "w": -h}, known: map[string]time.Duration{"a": h}, alive: "abc"},
		"it has heard all":                        {heard: map[string]time.Duration{"b": -h, "c": -h, "w": -h}, known: map[string]time.Duration{"a": h}, alive: "abc", own: h},
		"who is dead is not waited for":           {heard: map[string]time.Duration{"b": 0}, known: map[string]time.Duration{"a": h}, want: map[string]time.Duration{"a": 0}, alive: "ab"},
	} {
		t.Run(name, func(t *testing.T) {
			c, now := NewClocks(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			hear := func() {
				for id, offset := range tc.heard {
					role := identity.RoleCoordinator
					if id == "w" || id == "x" {
						role = identity.RoleWorker
					}
					c.hear(identity.Identity{Role: role, Node: id}, offset, now)
				}
			}
			v := known(t, tc.known, tc.alive)
			hear()
			if got := c.News(v, "a", now); len(tc.heard) > 0 && tc.heard["w"] != 0 && len(got) > 0 {
				t.Errorf("one message is enough for news: %v", got)
			}
			now = now.Add(5 * time.Second)
			hear()
			want := map[string]*tandemv1.ObserveClock{}
			for id, offset := range tc.want {
				want[id] = &tandemv1.ObserveClock{NodeId: id, Observer: "a"}
				if offset != 0 {
					want[id].Offset = durationpb.New(offset)
				}
			}
			got := map[string]*tandemv1.ObserveClock{}
			for _, o := range c.News(v, "a", now) {
				got[o.GetNodeId()] = o
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if got := c.Own(now); got != tc.own {
				t.Errorf("its own is %v off, want %v", got, tc.own)
			}
			now = now.Add(clockMemory)
			if got := c.News(v, "a", now); len(got) > 0 && tc.known["a"] == 0 {
				t.Errorf("what was heard a minute ago counts: %v", got)
			}
		})
	}
}
