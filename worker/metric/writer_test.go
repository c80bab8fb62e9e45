package metric

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/storage/memstore"
	"tandem.dev/storage/metric"
)

// source has one segment each time, of a certain size when packed.
type source struct {
	seq  int64
	size int
	last bool
	dues []time.Duration
}

func (s *source) Take(now time.Time, due time.Duration, last bool) []metric.Segment {
	if s.last {
		return nil
	}
	s.last, s.dues = last, append(s.dues, due)
	h := metric.Header{Kind: metric.Steps, Trial: "trial-1", Member: "m", World: 1, Seq: s.seq, Begin: now.UnixNano(), Due: due, Last: last}
	s.seq++
	run := metric.Run{First: 1}
	x := uint64(s.seq)
	for range max(1, s.size/9) {
		x = x*6364136223846793005 + 1442695040888963407
		run.Loss, run.Norm = append(run.Loss, float64(x)), append(run.Norm, 0)
	}
	return []metric.Segment{{Header: h, Runs: []metric.Run{run}}}
}

// store fails, or hangs, as long as it is told to.
type store struct {
	*memstore.Store
	mu          sync.Mutex
	away, hangs bool
}

func (s *store) set(away, hangs bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.hangs = away, hangs
}

func (s *store) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	s.mu.Lock()
	away, hangs := s.away, s.hangs
	s.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if away {
		return errors.New("away")
	}
	return s.Store.Put(ctx, key, r, size)
}

// stored returns the segments in the store, in order, and how many they say are lost.
func stored(t *testing.T, s *store) (all []metric.Segment, lost int64) {
	t.Helper()
	for _, key := range s.Keys() {
		b, err := s.Bytes(key)
		if err != nil {
			t.Fatal(err)
		}
		seg, err := metric.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if key != metric.Key(seg.Header) || !strings.HasPrefix(key, "trials/trial-1/metrics/steps/") {
			t.Errorf("key %s", key)
		}
		all, lost = append(all, seg), lost+seg.Lost
	}
	return all, lost
}

const backlog = 128 << 10

// write runs a writer in a bubble while f does something to its store; f returns at its end.
func write(t *testing.T, size int, f func(*source, *store)) (*source, *store, time.Duration) {
	t.Helper()
	src, st := &source{size: size}, &store{Store: memstore.New(memstore.Config{})}
	var took time.Duration
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Backlog = backlog
		w := New(cfg, Deps{Source: src, Store: st, Log: zerolog.Nop()})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		f(src, st)
		synctest.Wait()
		ended := time.Now()
		cancel()
		running.Wait()
		took = time.Since(ended)
	})
	return src, st, took
}

func TestWriter(t *testing.T) {
	src, st, _ := write(t, 0, func(*source, *store) { time.Sleep(10 * time.Second) })
	all, lost := stored(t, st)
	if len(all) != 3 || lost != 0 || !all[2].Last || all[1].Last {
		t.Errorf("%d segments, %d lost: %+v", len(all), lost, all)
	}
	if !src.last {
		t.Error("the source was not told of the end")
	}
}

func TestWriterGetsRarer(t *testing.T) {
	src, st, _ := write(t, 0, func(*source, *store) { time.Sleep(10 * time.Hour) })
	if n := len(st.Keys()); n < 500 || n > 1600 {
		t.Errorf("%d objects in 10 hours", n)
	}
	if first, late := src.dues[0], src.dues[len(src.dues)-2]; first != 4*time.Second || late != 30*time.Second {
		t.Errorf("due after %s at first and %s later", first, late)
	}
}

func TestWriterOutage(t *testing.T) {
	src, st, _ := write(t, 100, func(_ *source, s *store) {
		time.Sleep(9 * time.Second)
		s.set(true, false)
		time.Sleep(30 * time.Minute)
		s.set(false, false)
		time.Sleep(time.Minute)
	})
	all, lost := stored(t, st)
	if int64(len(all)) != src.seq || lost != 0 {
		t.Errorf("%d of %d segments, %d lost", len(all), src.seq, lost)
	}
}

func TestWriterBacklogIsBounded(t *testing.T) {
	src, st, _ := write(t, 8<<10, func(_ *source, s *store) {
		s.set(true, false)
		time.Sleep(10 * time.Minute)
		s.set(false, false)
		time.Sleep(time.Minute)
	})
	all, lost := stored(t, st)
	if lost == 0 || int64(len(all))+lost != src.seq || len(all) < 5 || len(all) > 60 {
		t.Errorf("%d of %d segments, %d lost", len(all), src.seq, lost)
	}
}

// TestWriterHangs: a store that does not answer delays the end by no more than the grace.
func TestWriterHangs(t *testing.T) {
	_, _, took := write(t, 0, func(_ *source, s *store) {
		s.set(false, true)
		time.Sleep(time.Minute)
	})
	if took > DefaultConfig().Grace {
		t.Errorf("the end took %s", took)
	}
}
