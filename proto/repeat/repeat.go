package repeat

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// every is the least time between two lines about one thing.
	every = time.Minute
	// most is how many things are remembered; beyond it those that have been silent are forgotten, then all.
	most = 1000
	// leftOut is the field that counts.
	leftOut = "left_out"
)

// Limiter lets lines pass. The zero value is ready; its methods may be called from any goroutine.
type Limiter struct {
	mu   sync.Mutex
	seen map[string]*thing
}

type thing struct {
	written time.Time
	left    int // out since then
}

// Pass tells whether a line about a thing is written now, and how many were left out since the last one.
func (l *Limiter) Pass(about string, now time.Time) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.seen[about]
	if t != nil && now.Sub(t.written) < every {
		t.left++
		return 0, false
	}
	if t != nil {
		left = t.left
	}
	l.remember(about, now)
	return left, true
}

func (l *Limiter) remember(about string, now time.Time) {
	if len(l.seen) >= most {
		for key, t := range l.seen {
			if now.Sub(t.written) >= every {
				delete(l.seen, key)
			}
		}
	}
	if l.seen == nil || len(l.seen) >= most {
		l.seen = map[string]*thing{}
	}
	l.seen[about] = &thing{written: now}
}

// Warn begins a line about a thing, as log.Warn does; nil, which writes nothing, when it is left out.
func (l *Limiter) Warn(log zerolog.Logger, about string) *zerolog.Event {
	return l.At(log, zerolog.WarnLevel, about)
}

// Error is Warn for errors.
func (l *Limiter) Error(log zerolog.Logger, about string) *zerolog.Event {
	return l.At(log, zerolog.ErrorLevel, about)
}

// At is Warn for any level.
func (l *Limiter) At(log zerolog.Logger, level zerolog.Level, about string) *zerolog.Event {
	if level < log.GetLevel() {
		return nil
	}
	left, ok := l.Pass(about, time.Now())
	if !ok {
		return nil
	}
	count := func(e *zerolog.Event) {
		if left > 0 {
			e.Int(leftOut, left)
		}
	}
	return log.WithLevel(level).Func(count) //nolint:zerologlint // the caller sends it
}
