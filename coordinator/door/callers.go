package door

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// ErrBusy says that a caller has reached one of its limits: the same call may pass a moment later.
var ErrBusy = errors.New("try again in a moment")

func busy(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrBusy)
}

// Kind is what sort of call is made.
type Kind int

const (
	// Call is answered as soon as it is served.
	Call Kind = iota
	// Stream stays open, or waits for others.
	Stream
)

// nodeShare is how many times the rate of a token a node has: an agent speaks for all engines of a machine.
const nodeShare = 4

// Callers keeps what each caller may still do. Only a caller that does something is kept.
type Callers struct {
	limits  Limits
	held    atomic.Int64
	mu      sync.Mutex
	callers map[string]*caller
}

// caller is a token, a node, or an address that nobody is known of.
type caller struct {
	limiter *rate.Limiter
	lines   *rate.Limiter // of logs
	calls   *semaphore.Weighted
	streams int64
	held    atomic.Int64
	visits  int // that are open
}

// NewCallers returns Callers without any.
func NewCallers(l Limits) *Callers { return &Callers{limits: l, callers: map[string]*caller{}} }

// keep is how many callers are kept before those that do nothing now are forgotten.
const keep = 4096

// get finds a caller, or makes it. It needs mu.
func (c *Callers) get(key string, perSecond float64, burst int) *caller {
	who := c.callers[key]
	if who != nil {
		return who
	}
	if len(c.callers) >= keep {
		for k, other := range c.callers {
			if other.visits == 0 && other.limiter.Tokens() >= float64(other.limiter.Burst()) {
				delete(c.callers, k)
			}
		}
	}
	who = &caller{limiter: rate.NewLimiter(rate.Limit(perSecond), burst), lines: rate.NewLimiter(LogLines, LogLines),
		calls: semaphore.NewWeighted(int64(c.limits.Calls))}
	c.callers[key] = who
	return who
}

// Visit is one call of a caller; nil is one that nobody counts.
type Visit struct {
	callers *Callers
	who     *caller
	kind    Kind
	held    atomic.Int64
	lines   int   // of logs that were sent
	packed  int64 // bytes that were unpacked and do not count as a call yet
}

// Enter lets a call of a caller in, or fails with ErrBusy. Leave must follow.
func (c *Callers) Enter(ctx context.Context, key string, node bool, kind Kind) (*Visit, error) {
	perSecond, burst := c.limits.Rate, c.limits.Burst
	if node {
		perSecond, burst = nodeShare*perSecond, nodeShare*burst
	}
	c.mu.Lock()
	who := c.get(key, perSecond, burst)
	if !who.limiter.Allow() {
		c.mu.Unlock()
		return nil, busy("more than %g calls a second", perSecond)
	}
	// An agent's calls wait for each other, as those of its engines do.
	if node {
		kind = Stream
	}
	if kind == Stream && who.streams >= int64(c.limits.Streams) {
		c.mu.Unlock()
		return nil, busy("more than %d streams and long calls are open at once", c.limits.Streams)
	}
	if kind == Stream {
		who.streams++
	}
	who.visits++
	c.mu.Unlock()
	v := &Visit{callers: c, who: who, kind: kind}
	if kind == Call {
		waiting, cancel := context.WithTimeout(ctx, c.limits.Wait)
		defer cancel()
		if err := who.calls.Acquire(waiting, 1); err != nil {
			c.leave(who, Call)
			return nil, busy("more than %d calls are served at once", c.limits.Calls)
		}
		if who.limiter.Tokens() < 0 { // those before it have had large answers
			v.Leave()
			return nil, busy("answers of more than %g KiB a second", perSecond*AnswerCall/1024)
		}
	}
	return v, nil
}

func (c *Callers) leave(who *caller, kind Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	who.visits--
	if kind == Stream {
		who.streams--
	}
}

// Hold counts bytes that a call holds in memory until it leaves, or fails with ErrBusy.
func (v *Visit) Hold(n int64) error {
	if v == nil {
		return nil
	}
	v.held.Add(n)
	mine, all := v.who.held.Add(n), v.callers.held.Add(n)
	if mine > v.callers.limits.Held {
		return busy("requests of more than %d MiB are held at once", v.callers.limits.Held>>20)
	}
	if all > v.callers.limits.HeldAll {
		return busy("requests of all callers of more than %d MiB are held at once", v.callers.limits.HeldAll>>20)
	}
	return nil
}

// Answer counts an answer of this size in bytes until the call leaves, or fails with ErrBusy. It was work too: the caller's next calls have
// to wait for that.
func (v *Visit) Answer(size int) error {
	if v == nil || size < AnswerFree {
		return nil
	}
	v.who.limiter.ReserveN(time.Now(), min(size/AnswerCall, v.who.limiter.Burst()))
	return v.Hold(int64(size) * AnswerWeight)
}

// linesAtOnce is how many lines of a log are counted together.
const linesAtOnce = 100

// Line counts a line of a log, which waits for its turn. It fails when ctx ends.
func (v *Visit) Line(ctx context.Context) error {
	if v == nil {
		return nil
	}
	if v.lines++; v.lines%linesAtOnce > 0 {
		return nil
	}
	return v.who.lines.WaitN(ctx, linesAtOnce)
}

// unpackedCall is how many bytes that a call unpacks count as one more call: a packed body of a few KB is the work of many.
const unpackedCall = 64 << 10

// Unpack counts bytes that a call has unpacked, or fails with ErrBusy.
func (v *Visit) Unpack(n int64) error {
	if v == nil {
		return nil
	}
	v.packed += n
	calls := v.packed / unpackedCall
	v.packed %= unpackedCall
	if calls > 0 && !v.who.limiter.AllowN(time.Now(), int(calls)) {
		return busy("more than %g KiB a second are unpacked", float64(v.who.limiter.Limit())*unpackedCall/1024)
	}
	return nil
}

// Work counts a call that takes as long as n others as so many, or fails with ErrBusy.
func (v *Visit) Work(n int) error {
	if v == nil {
		return nil
	}
	if l := v.who.limiter; !l.AllowN(time.Now(), min(n, l.Burst())) {
		return busy("more than %g calls of this kind a second", float64(l.Limit())/float64(n))
	}
	return nil
}

// Leave ends a call.
func (v *Visit) Leave() {
	n := v.held.Load()
	v.who.held.Add(-n)
	v.callers.held.Add(-n)
	if v.kind == Call {
		v.who.calls.Release(1)
	}
	v.callers.leave(v.who, v.kind)
}

// Held is how many bytes of requests are held now.
func (c *Callers) Held() int64 { return c.held.Load() }

// Stranger counts a caller whose token nobody knows, by its address, and fails with ErrBusy when there are too many.
func (c *Callers) Stranger(address string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.get("address "+address, c.limits.Strangers, int(10*c.limits.Strangers)).limiter.Allow() {
		return busy("too many unknown tokens come from %s", address)
	}
	return nil
}
