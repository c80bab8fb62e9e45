package metric

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/storage/metric"
)

// Source has what was recorded.
type Source interface {
	// Take returns what was recorded since the last call; the next one comes after due. With
	// last nothing is recorded any more.
	Take(now time.Time, due time.Duration, last bool) []metric.Segment
}

// Store is where segments go. Putting the same bytes again is harmless.
type Store interface {
	Put(ctx context.Context, key string, r io.Reader, size int64) error
}

// Config of a Writer.
type Config struct {
	// First is the time between two segments of a young engine.
	First time.Duration
	// Share is how many segments an engine has written, about, when that time begins to grow: it is its age through this.
	Share int
	// Longest is the longest time between two segments.
	Longest time.Duration
	// Backlog is how many bytes wait at most for a store that is away.
	Backlog int
	// Put is how long one attempt to store a segment may take.
	Put time.Duration
	// Grace is how long the end waits for what is not stored yet.
	Grace time.Duration
}

// DefaultConfig is what engines take.
func DefaultConfig() Config {
	return Config{First: 4 * time.Second, Share: 100, Longest: 30 * time.Second, Backlog: 16 << 20, Put: 10 * time.Second, Grace: 3 * time.Second}
}

// Deps of a Writer.
type Deps struct {
	Source Source
	Store  Store
	Log    zerolog.Logger
}

// Writer stores segments.
type Writer struct {
	cfg  Config
	deps Deps

	waiting []object // oldest first
	bytes   int      // of them
	lost    int64    // dropped since the last segment that was encoded
	failing bool     // the last attempt failed
}

// object is a segment on its way, sealed once, so that it can be put again.
type object struct {
	key  string
	data []byte
	lost int64 // as its header says
}

// New makes a writer.
func New(c Config, d Deps) *Writer { return &Writer{cfg: c, deps: d} }

// Run stores segments until ctx ends, and then the last ones, for which it takes at most
// Grace. Nothing that goes wrong is an error for the engine.
func (w *Writer) Run(ctx context.Context) {
	begin := time.Now()
	for {
		due := w.due(time.Since(begin))
		timer := time.NewTimer(due)
		select {
		case <-timer.C:
			w.take(time.Now(), w.due(time.Since(begin)), false)
			w.put(ctx)
		case <-ctx.Done():
			timer.Stop()
			w.take(time.Now(), 0, true)
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.Grace)
			defer cancel()
			w.put(grace)
			if len(w.waiting) > 0 {
				w.deps.Log.Warn().Int("segments", len(w.waiting)).Msg("metrics could not be stored and are lost")
			}
			return
		}
	}
}

// due is the time to the next segments of an engine of some age: the older it is, the rarer
// they get, so that a long training has not too many to read.
func (w *Writer) due(age time.Duration) time.Duration {
	return max(w.cfg.First, min(age/time.Duration(w.cfg.Share), w.cfg.Longest))
}

// take encodes what the source has.
func (w *Writer) take(now time.Time, due time.Duration, last bool) {
	for _, s := range w.deps.Source.Take(now, due, last) {
		s.Lost += w.lost
		b, err := metric.Encode(s)
		if err != nil {
			w.deps.Log.Error().Err(err).Msg("metrics cannot be encoded and are lost")
			w.lost = s.Lost + 1
			continue
		}
		w.lost = 0
		w.waiting = append(w.waiting, object{metric.Key(s.Header), b, s.Lost})
		w.bytes += len(b)
	}
	dropped := 0
	for w.bytes > w.cfg.Backlog && len(w.waiting) > 1 {
		w.bytes -= len(w.waiting[0].data)
		w.lost += w.waiting[0].lost + 1
		w.waiting = w.waiting[1:]
		dropped++
	}
	if dropped > 0 {
		w.deps.Log.Warn().Int("segments", dropped).Msg("the store is away for long: the oldest metrics are lost")
	}
}

// put stores what waits, oldest first, up to the first failure.
func (w *Writer) put(ctx context.Context) {
	for len(w.waiting) > 0 {
		o := w.waiting[0]
		attempt, cancel := context.WithTimeout(ctx, w.cfg.Put)
		err := w.deps.Store.Put(attempt, o.key, bytes.NewReader(o.data), int64(len(o.data)))
		cancel()
		if err != nil {
			if !w.failing && ctx.Err() == nil {
				w.deps.Log.Warn().Err(err).Msg("metrics wait for the store")
			}
			w.failing = true
			return
		}
		w.failing = false
		w.waiting, w.bytes = w.waiting[1:], w.bytes-len(o.data)
	}
}
