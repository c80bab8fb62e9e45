package board

import (
	"maps"
	"slices"
	"sync"
	"time"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Board is what was heard of trials and agents. It is safe for concurrent use.
type Board struct {
	mu       sync.Mutex
	progress map[string]*tandemv1.Progress // by trial
	heard    map[string]time.Time          // by node
	sessions map[string]int                // open sessions here, by node
	unshared map[string]bool               // trials whose progress came from an agent here and was not shared
	changed  chan struct{}                 // closed and replaced when progress comes
	dirty    chan struct{}                 // has a token when there is something to share
}

// New returns an empty board.
func New() *Board {
	return &Board{
		progress: map[string]*tandemv1.Progress{}, heard: map[string]time.Time{}, sessions: map[string]int{},
		unshared: map[string]bool{}, changed: make(chan struct{}), dirty: make(chan struct{}, 1),
	}
}

// Put takes progress of trials. What comes from an agent here is to be shared; what another coordinator shared is not.
// Progress of an older generation, or of a time before what is known, is dropped; a time that is far before means that a clock was set.
func (b *Board) Put(progress []*tandemv1.Progress, share bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := false
	for _, p := range progress {
		old := b.progress[p.GetTrialId()]
		if old != nil && (p.GetGeneration() < old.GetGeneration() ||
			p.GetGeneration() == old.GetGeneration() && late(old.GetTime().AsTime().Sub(p.GetTime().AsTime()))) {
			continue
		}
		b.progress[p.GetTrialId()] = p
		news = true
		if share {
			b.unshared[p.GetTrialId()] = true
		}
	}
	if !news {
		return
	}
	close(b.changed)
	b.changed = make(chan struct{})
	if share {
		select {
		case b.dirty <- struct{}{}:
		default:
		}
	}
}

// late says whether what is older than what is known by so much has been overtaken.
func late(by time.Duration) bool { return by > 0 && by < identity.ClockTolerance }

// Progress of a trial; nil when nothing was heard of this generation.
func (b *Board) Progress(trial string, generation int64) *tandemv1.Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.progress[trial]; p.GetGeneration() == generation {
		return p
	}
	return nil
}

// Changed is closed when progress comes after the call.
func (b *Board) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// Keep drops the progress of all other trials and what was heard before a time.
func (b *Board) Keep(trials map[string]bool, heardAfter time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.progress, func(t string, _ *tandemv1.Progress) bool { return !trials[t] })
	maps.DeleteFunc(b.heard, func(_ string, t time.Time) bool { return t.Before(heardAfter) })
}

// Hear notes that agents were heard of.
func (b *Board) Hear(nodes []string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range nodes {
		b.heard[n] = now
	}
}

// Heard is when an agent was last heard of, here or by another coordinator; zero if never.
func (b *Board) Heard(node string, now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sessions[node] > 0 {
		return now
	}
	return b.heard[node]
}

// OpenSession counts a session of an agent here; the returned function ends it.
func (b *Board) OpenSession(node string) (end func(now time.Time)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions[node]++
	return func(now time.Time) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.sessions[node]--; b.sessions[node] == 0 {
			delete(b.sessions, node)
		}
		b.heard[node] = now
	}
}

// take returns what is to be shared: progress that came since the last call, and the agents with a session here.
func (b *Board) take() *tandemv1.ShareRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	req := &tandemv1.ShareRequest{Heard: slices.Sorted(maps.Keys(b.sessions))}
	for _, t := range slices.Sorted(maps.Keys(b.unshared)) {
		if p := b.progress[t]; p != nil {
			req.Progress = append(req.Progress, p)
		}
	}
	clear(b.unshared)
	return req
}
