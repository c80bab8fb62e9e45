package leader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/fsm/fsmtest"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// rumours are what is heard of nodes.
type rumours struct {
	alive map[string]bool
	heard map[string]time.Time
}

func (r rumours) Gossiping() map[string]bool               { return r.alive }
func (r rumours) Heard(node string, _ time.Time) time.Time { return r.heard[node] }

func TestLost(t *testing.T) {
	w := fsmtest.New(t)
	lost := fsmtest.Node("n3", 1)
	lost.State = tandemv1.NodeState_NODE_STATE_LOST
	w.Put(fsmtest.Node("n1", 1), fsmtest.Node("n2", 1), lost)
	now := fsmtest.T0.Add(time.Minute)
	for name, tc := range map[string]struct {
		since time.Time
		r     rumours
		want  string
	}{
		"silence":            {fsmtest.T0, rumours{}, "n1 n2"},
		"gossip":             {fsmtest.T0, rumours{alive: map[string]bool{"n1": true}}, "n2"},
		"heard":              {fsmtest.T0, rumours{heard: map[string]time.Time{"n2": now.Add(-9 * time.Second)}}, "n1"},
		"heard too long ago": {fsmtest.T0, rumours{heard: map[string]time.Time{"n2": now.Add(-10 * time.Second)}}, "n1 n2"},
		"new leader":         {now.Add(-9 * time.Second), rumours{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, n := range Lost(w.S.View(), now, tc.since, 10*time.Second, tc.r) {
				got = append(got, n.GetId())
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("lost %v, want %s", got, tc.want)
			}
		})
	}
}

// contacts are what a leader has learned of peers itself.
type contacts map[string]consensus.Contact

func (c contacts) Peers() []consensus.Peer {
	return []consensus.Peer{{ID: "gone", Voter: true}, {ID: "here", Voter: true}, {ID: "new"}, {ID: "self", Voter: true, Leader: true}}
}
func (c contacts) Contact(peer string) consensus.Contact { return c[peer] }

// TestSeen: what a leader does not know yet is no news: neither that who was dead is back, nor that who was there is gone.
func TestSeen(t *testing.T) {
	now := fsmtest.T0.Add(time.Minute)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	w := fsmtest.New(t)
	w.Put(&tandemv1.Coordinator{Id: "gone"}, &tandemv1.Coordinator{Id: "here", Alive: true}, &tandemv1.Coordinator{Id: "self"})
	for name, tc := range map[string]struct {
		c    contacts
		want string // who is alive
	}{
		"nothing is known":       {contacts{}, "here new self"},
		"all answer":             {contacts{"gone": {Answered: true}, "here": {Answered: true}, "new": {Answered: true}}, "gone here new self"},
		"silent for a moment":    {contacts{"gone": {Silent: ago(time.Second)}, "here": {Answered: true, Silent: ago(time.Second)}, "new": {Silent: ago(time.Second)}}, "here new self"},
		"silent":                 {contacts{"gone": {Silent: ago(silence)}, "here": {Answered: true, Silent: ago(silence)}, "new": {Silent: ago(silence)}}, "self"},
		"never answered, silent": {contacts{"here": {Silent: ago(silence)}}, "new self"},
		"answered, then not":     {contacts{"gone": {Answered: true, Silent: ago(time.Second)}}, "here new self"},
	} {
		t.Run(name, func(t *testing.T) {
			var alive []string
			for _, c := range Seen(w.S.View(), tc.c, now) {
				if c.GetAlive() {
					alive = append(alive, c.GetId())
				}
			}
			if got := strings.Join(alive, " "); got != tc.want {
				t.Errorf("alive are %s, want %s", got, tc.want)
			}
		})
	}
}

// TestStoreOfAFreshLeader: what a coordinator found out about the store before it led is no news, neither good nor bad.
func TestStoreOfAFreshLeader(t *testing.T) {
	fault := &tandemv1.Reason{Code: tandemv1.Reason_CODE_STORE_FULL}
	for name, tc := range map[string]struct {
		known, found *tandemv1.Reason
		at           time.Duration // of the look, from when it leads
		news         bool
	}{
		"it served when it did not lead": {known: fault, at: -time.Millisecond},
		"it serves":                      {known: fault, at: time.Millisecond, news: true},
		"it failed when it did not lead": {found: fault, at: -time.Millisecond},
		"it fails":                       {found: fault, at: time.Millisecond, news: true},
		"as known":                       {known: fault, found: fault, at: time.Millisecond},
		"never looked at":                {known: fault, at: -1e6 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := fsmtest.New(t)
				w.Put(&tandemv1.Cluster{Id: "c", StoreFault: tc.known})
				at := time.Now().Add(tc.at)
				ctx, cancel := context.WithTimeout(t.Context(), 2*storeTick)
				defer cancel()
				if err := Store(w.S, w, func() (*tandemv1.Reason, time.Time) { return tc.found, at }).Run(ctx); err != nil {
					t.Fatal(err)
				}
				if n := len(w.S.View().Events(0)); n > 1 || (n == 1) != tc.news {
					t.Errorf("%d events", n)
				}
			})
		})
	}
}

func TestSurplus(t *testing.T) {
	w := fsmtest.New(t)
	j, tr := fsmtest.Job("j", 1)
	w.Put(j, tr)
	for i, acc := range []float64{.5, .9, .7, .8, -1} {
		c := &tandemv1.Checkpoint{Id: fmt.Sprint("c", i), JobId: "j", TrialId: "jt", Step: int64(i), CreatedAt: timestamppb.New(fsmtest.T0.Add(time.Duration(i) * time.Second))}
		if acc >= 0 {
			c.Metrics = map[string]float64{"accuracy": acc}
		}
		w.Put(c)
	}
	if got, want := Surplus(w.S.View()), []string{"c0", "c2"}; !cmp.Equal(got, want) {
		t.Errorf("surplus %v, want %v", got, want) // kept: c1 is the best, c3 and c4 are the newest
	}
	tr = state.Clone(tr)
	tr.LatestCheckpointId = "c2"
	w.Put(tr)
	if got, want := Surplus(w.S.View()), []string{"c0"}; !cmp.Equal(got, want) {
		t.Errorf("surplus %v, want %v: the trial needs c2", got, want)
	}
}

func TestExpired(t *testing.T) {
	w := fsmtest.New(t)
	w.Put(&tandemv1.RequestRecord{RequestId: "r", Time: timestamppb.New(fsmtest.T0)}, &tandemv1.Token{Id: "token-1", Name: "n", Sha256: "s"})
	if got := Expired(w.S.View(), fsmtest.T0.Add(fsm.RequestLife)); got != nil {
		t.Errorf("too early: %v", got)
	}
	if got := Expired(w.S.View(), fsmtest.T0.Add(fsm.RequestLife+time.Second)); !got.GetRequestsBefore().AsTime().Equal(fsmtest.T0.Add(time.Second)) {
		t.Errorf("expired %v", got)
	}
}

// leadership leads once for each signal, until the next.
type leadership struct{ terms chan struct{} }

func (l leadership) Lead(ctx context.Context, fn func(context.Context) error) error {
	for range l.terms {
		term, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := fn(term)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func TestSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		runs := map[string]int{}
		count := func(name string, run func(ctx context.Context) error) Loop {
			return Loop{name, func(ctx context.Context) error {
				mu.Lock()
				runs[name]++
				mu.Unlock()
				return run(ctx)
			}}
		}
		l := leadership{make(chan struct{}, 2)}
		l.terms <- struct{}{}
		l.terms <- struct{}{}
		close(l.terms)
		s := NewSupervisor(l, []Loop{
			count("good", func(ctx context.Context) error { <-ctx.Done(); return nil }),
			count("fails", func(context.Context) error { return errors.New("no") }),
			count("panics", func(context.Context) error { panic("no") }),
		}, zerolog.Nop())
		if err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		// In 10 s with pauses of 0.1, 0.2, 0.4 ... a loop that fails is started 7 times.
		if want := map[string]int{"good": 2, "fails": 14, "panics": 14}; !cmp.Equal(runs, want) {
			t.Errorf("runs %v, want %v", runs, want)
		}
	})
}
