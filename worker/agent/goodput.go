package agent

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"

	"tandem.dev/storage"
	"tandem.dev/storage/metric"
)

const (
	// Records of an engine that are counted: those of half a minute have some kilobytes, and it is the engine that says how many there are.
	mostRecords, mostUnpacked = 256 << 10, 4 << 20
)

// goodput counts where the time of the ranks here went, from what engines record on its way to the store.
type goodput struct {
	count func(metric.Ledger)
	live  func() map[string]bool // trials that have engines here

	mu     sync.Mutex
	trials map[string]*lived
}

// lived is what is known of a trial that has ranks here.
type lived struct {
	reached map[int64]int64 // steps done at most, by generation
	members map[string]*toldOf
}

// toldOf is what a member has told.
type toldOf struct {
	next    int64 // number of its next segment
	reached int64 // steps done at most
}

func newGoodput(count func(metric.Ledger), live func() map[string]bool) *goodput {
	return &goodput{count: count, live: live, trials: map[string]*lived{}}
}

// store is a store that counts the records which are put into it.
func (g *goodput) store(s storage.Store) storage.Store { return recorded{s, g} }

type recorded struct {
	storage.Store
	goodput *goodput
}

// Put implements storage.Store.
func (r recorded) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	_, ok := metric.ParseKey(key)
	announced, told := body.(storage.Announced)
	if !ok || !strings.Contains(key, "/"+string(metric.Beats)+"/") || !told || size > mostRecords {
		return r.Store.Put(ctx, key, body, size)
	}
	var b bytes.Buffer
	announced.Reader = io.TeeReader(announced.Reader, &b)
	if err := r.Store.Put(ctx, key, announced, size); err != nil {
		return err
	}
	if s, err := metric.DecodeWithin(b.Bytes(), mostUnpacked); err == nil && metric.Key(s.Header) == key {
		r.goodput.take(s)
	}
	return nil
}

// take counts a segment, once, however often it is stored.
func (g *goodput) take(s metric.Segment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	of := g.trials[s.Trial]
	if of == nil {
		live := g.live()
		for trial := range g.trials {
			if !live[trial] {
				delete(g.trials, trial)
			}
		}
		of = &lived{reached: map[int64]int64{}, members: map[string]*toldOf{}}
		g.trials[s.Trial] = of
	}
	member := of.members[s.Member]
	if member == nil {
		member = &toldOf{}
		of.members[s.Member] = member
	}
	if s.Seq < member.next {
		return
	}
	member.next = s.Seq + 1
	// All ranks of a generation do the same steps. What is done again was done by this member, or in an earlier generation.
	reached := member.reached
	for generation, step := range of.reached {
		if generation < s.Generation {
			reached = max(reached, step)
		}
	}
	var l metric.Ledger
	for _, b := range s.Beats {
		if b.Times.Total().Seconds() > mostSeconds {
			return // no engine records so rarely
		}
		l.Spend(b.Times, float64(b.First), float64(b.Step), float64(reached))
		reached = max(reached, b.Step)
		member.reached = max(member.reached, b.Step)
	}
	of.reached[s.Generation] = max(of.reached[s.Generation], member.reached)
	g.count(l)
}
