package board

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// clockMemory is how long a reading counts.
const clockMemory = time.Minute

// Clocks is what this coordinator hears of the clocks of nodes and of other coordinators: each of their requests says what theirs says.
// It compares all with the cluster's time, the median of the coordinators' clocks, so that one wrong clock does not make all others
// look wrong.
type Clocks struct {
	mu    sync.Mutex
	heard map[string]*reading // by identity
}

type reading struct {
	skew        identity.Skew
	coordinator bool
	at          time.Time
}

// NewClocks returns Clocks without any reading.
func NewClocks() *Clocks { return &Clocks{heard: map[string]*reading{}} }

// Watch notes what the clocks of those say who prove to be a node. It is in front of all else: who is told nothing, for
// its clock is off, has said so.
func (c *Clocks) Watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		if who, ok := identity.Peer(r.TLS); ok {
			if offset, ok := identity.ClockOffset(r.Header, now); ok {
				c.hear(who, offset, now)
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (c *Clocks) hear(who identity.Identity, offset time.Duration, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.heard[who.Node]
	if r == nil {
		r = &reading{coordinator: who.Role == identity.RoleCoordinator}
		c.heard[who.Node] = r
	}
	r.skew.See(offset, now)
	r.at = now
}

// Own is how far this coordinator's clock is ahead of the cluster's time (negative: behind); 0 within the tolerance, and for all it knows.
func (c *Clocks) Own(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return identity.WithoutTolerance(-c.median(now))
}

// median is how far the cluster's time is ahead of this coordinator's clock.
func (c *Clocks) median(now time.Time) time.Duration {
	all := []time.Duration{0} // its own
	for _, r := range c.heard {
		if r.coordinator && r.counts(now) {
			all = append(all, r.skew.Offset)
		}
	}
	slices.Sort(all)
	low, high := all[(len(all)-1)/2], all[len(all)/2]
	if low.Abs() < high.Abs() { // of two in the middle, the one nearer to its own
		return low
	}
	return high
}

func (r *reading) counts(now time.Time) bool { return r.skew.Known && now.Sub(r.at) < clockMemory }

// News decides what the cluster has to be told of clocks: those that are off otherwise than the state says. Until this coordinator has
// heard all others that are alive it does not know the cluster's time: its own could be the one that is off.
func (c *Clocks) News(v *state.View, self string, now time.Time) []*tandemv1.ObserveClock {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.heard, func(_ string, r *reading) bool { return now.Sub(r.at) >= clockMemory })
	for _, other := range v.Coordinators() {
		if r := c.heard[other.GetId()]; other.GetAlive() && other.GetId() != self && (r == nil || !r.counts(now)) {
			return nil
		}
	}
	median := c.median(now)
	offsets := map[string]time.Duration{}
	if len(c.heard) > 0 {
		offsets[self] = identity.WithoutTolerance(-median)
	}
	for id, r := range c.heard {
		if r.counts(now) {
			offsets[id] = identity.WithoutTolerance(r.skew.Offset - median)
		}
	}
	var news []*tandemv1.ObserveClock
	for id, seen := range offsets {
		known, ok := knownOffset(v, id)
		if !ok || !identity.SkewIsNews(known, seen) {
			continue
		}
		o := &tandemv1.ObserveClock{NodeId: id, Observer: self}
		if seen != 0 {
			o.Offset = durationpb.New(seen)
		}
		news = append(news, o)
	}
	slices.SortFunc(news, func(a, b *tandemv1.ObserveClock) int { return cmp.Compare(a.GetNodeId(), b.GetNodeId()) })
	return news
}

// knownOffset is what the state says of somebody's clock; false when it does not know who that is.
func knownOffset(v *state.View, id string) (time.Duration, bool) {
	if n, ok := v.Node(id); ok {
		return n.GetClockOffset().AsDuration(), true
	}
	c, ok := v.Coordinator(id)
	return c.GetClockOffset().AsDuration(), ok
}
