package agent

import (
	"context"
	"sync"

	"tandem.dev/proto/limit"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// reportQueue holds reports, oldest first, until the coordinator has taken them.
type reportQueue struct {
	limit int // of what engines may queue

	mu      sync.Mutex
	reports []*tandemv1.EngineReport
	changed chan struct{} // closed and replaced at each change
}

func newReportQueue(limit int) *reportQueue {
	return &reportQueue{limit: limit, changed: make(chan struct{})}
}

// push adds a report of an engine. While the queue is full it waits, and so slows the engine down.
func (q *reportQueue) push(ctx context.Context, r *tandemv1.EngineReport) error {
	for {
		q.mu.Lock()
		if len(q.reports) < q.limit {
			q.add(r)
			q.mu.Unlock()
			return nil
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pushNow adds a report of the agent's own, full or not: there is at most one for each task.
func (q *reportQueue) pushNow(r *tandemv1.EngineReport) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(r)
}

// add needs mu.
func (q *reportQueue) add(r *tandemv1.EngineReport) {
	limit.Cut(r) // an engine's words may be long, and one that coordinators refuse would hold up all after it
	q.reports = append(q.reports, r)
	q.signal()
}

func (q *reportQueue) signal() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// peek waits for reports and returns the oldest, at most n. They stay until drop.
func (q *reportQueue) peek(ctx context.Context, n int) ([]*tandemv1.EngineReport, error) {
	for {
		q.mu.Lock()
		if len(q.reports) > 0 {
			batch := append([]*tandemv1.EngineReport(nil), q.reports[:min(n, len(q.reports))]...)
			q.mu.Unlock()
			return batch, nil
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// drop removes the n oldest. Only the one sender drops, so they are the ones it peeked.
func (q *reportQueue) drop(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reports = append([]*tandemv1.EngineReport(nil), q.reports[n:]...)
	q.signal()
}

// drained waits until the queue is empty.
func (q *reportQueue) drained(ctx context.Context) error {
	for {
		q.mu.Lock()
		n, changed := len(q.reports), q.changed
		q.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (q *reportQueue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.reports)
}
