package plausible

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// An engine may make so many notes at once, and one more for each minute: each is an event, of which the newest 10,000 are kept.
	noteBurst = 20
	noteEach  = time.Minute
	// keep is how many engines are kept before those that said nothing lately are forgotten.
	keep = 4096
)

// Notes counts the notes of engines. It is safe for concurrent use.
type Notes struct {
	mu      sync.Mutex
	engines map[string]*rate.Limiter
}

// NewNotes returns Notes that know no engine.
func NewNotes() *Notes { return &Notes{engines: map[string]*rate.Limiter{}} }

// Allow says whether an engine may make one more.
func (n *Notes) Allow(engine string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.engines[engine]
	if l == nil {
		if len(n.engines) >= keep {
			for id, other := range n.engines {
				if other.TokensAt(now) >= noteBurst {
					delete(n.engines, id)
				}
			}
		}
		l = rate.NewLimiter(rate.Every(noteEach), noteBurst)
		n.engines[engine] = l
	}
	return l.AllowN(now, 1)
}
