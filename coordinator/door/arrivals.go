package door

import (
	"context"
	"fmt"
	"math"
	"sync"

	"golang.org/x/time/rate"
)

// Arrivals lets each address shake hands so many times a second and has the others wait for their turn. A handshake is the dearest
// thing that somebody unknown can ask for, and one who is turned away after it can ask again at once.
type Arrivals struct {
	limits Limits
	mu     sync.Mutex
	from   map[string]*rate.Limiter
}

// NewArrivals returns Arrivals that know no address.
func NewArrivals(l Limits) *Arrivals { return &Arrivals{limits: l, from: map[string]*rate.Limiter{}} }

// Wait waits until a connection from an address, host:port, may shake hands. It fails at once when ctx ends before that.
func (a *Arrivals) Wait(ctx context.Context, hostPort string) error {
	if a.limits.PerAddress == 0 { // it is a proxy's, and all come from there
		return nil
	}
	from := Address(hostPort)
	if err := a.of(from).Wait(ctx); err != nil {
		return fmt.Errorf("too many connections from %s: %w", from, err)
	}
	return nil
}

func (a *Arrivals) of(from string) *rate.Limiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	limiter := a.from[from]
	if limiter == nil {
		a.forget()
		limiter = rate.NewLimiter(rate.Limit(a.limits.Handshakes), handshakeBurst*int(math.Ceil(a.limits.Handshakes)))
		a.from[from] = limiter
	}
	return limiter
}

// forget drops the addresses that have not come for a while when there are many. It needs mu.
func (a *Arrivals) forget() {
	if len(a.from) < keep {
		return
	}
	for from, limiter := range a.from {
		if limiter.Tokens() >= float64(limiter.Burst()) {
			delete(a.from, from)
		}
	}
}
