package agent

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"tandem.dev/storage"
	"tandem.dev/storage/layout"
)

// chunk is an object to be: sealed once, so that a repeated upload has the same key and bytes.
type chunk struct {
	key   string
	time  time.Time
	data  []byte
	lines int
	gap   bool // lines were left out before it; it changes only before this is the oldest
	last  bool // it has no lines of the engine; it says what is left out, if anything is
}

// seal turns the lines so far into a chunk; it needs mu. The oldest chunk stays whatever comes, for it may be on its way, or be stored
// without an answer.
func (e *engineLog) seal(now time.Time) {
	if e.buffer.Len() == 0 {
		return
	}
	e.sealed = append(e.sealed, chunk{key: e.key(now), time: now.UTC(), data: bytes.Clone(e.buffer.Bytes()), lines: e.lines})
	e.bytes += e.buffer.Len()
	e.buffer.Reset()
	e.lines = 0
	for e.bytes > backlogBytes && len(e.sealed) > 2 {
		dropped := e.sealed[1]
		e.sealed = append(e.sealed[:1], e.sealed[2:]...)
		e.sealed[1].gap = true
		e.late.add(dropped.lines, len(dropped.data))
		e.bytes -= len(dropped.data)
	}
}

// sealLast seals what there is, and the chunk that is the end of the log.
func (e *engineLog) sealLast(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seal(now)
	e.sealed = append(e.sealed, chunk{key: e.key(now), time: now.UTC(), last: true})
}

// key is that of the next chunk; it needs mu. Keys of one engine sort by time and are never equal.
func (e *engineLog) key(now time.Time) string {
	e.stamp = max(e.stamp+1, now.UnixMilli())
	return fmt.Sprintf("%s%013d-%s-r%d-g%d.jsonl",
		layout.Logs(trialOf(e.task)), e.stamp, e.logs.node, e.task.GetTrain().GetMember(), e.task.GetGeneration())
}

// upload puts chunks until the log is closed and empty, or ctx ends. A store that fails is asked again later.
func (e *engineLog) upload(ctx context.Context) {
	const slowest = 30 * time.Second
	wait := e.logs.every
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for open := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-e.full:
		case <-timer.C:
		case <-e.doneIf(open):
			open = false
		}
		err := e.send(ctx)
		switch {
		case err == nil && !open:
			return
		case err == nil:
			wait = e.logs.every
		default:
			e.logs.metrics.logErrors.Inc()
			if wait == e.logs.every {
				e.logs.log.Warn().Err(err).Str("engine", e.task.GetId()).Msg("log lines wait for the store")
			}
			wait = min(2*wait, slowest)
		}
		timer.Reset(wait)
	}
}

// doneIf is the end of the log while that is news; a nil channel never is.
func (e *engineLog) doneIf(open bool) <-chan struct{} {
	if open {
		return e.done
	}
	return nil
}

// send seals what there is and puts all chunks, oldest first.
func (e *engineLog) send(ctx context.Context) error {
	e.mu.Lock()
	e.seal(e.logs.now())
	e.mu.Unlock()
	for {
		e.mu.Lock()
		if len(e.sealed) == 0 {
			e.mu.Unlock()
			return nil
		}
		c, late := e.sealed[0], e.late
		e.mu.Unlock()
		if err := e.put(ctx, c, late); err != nil {
			return err
		}
		e.mu.Lock()
		e.sealed = e.sealed[1:]
		e.bytes -= len(c.data)
		e.mu.Unlock()
	}
}

// put stores a chunk; late is what is left out of the log by now for not being stored in time.
func (e *engineLog) put(ctx context.Context, c chunk, late leftOut) error {
	store, err := e.logs.objects.get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	if err := e.makeRoom(ctx, store, c); err != nil {
		return err
	}
	data := c.data
	switch {
	case c.last && e.kept.over.lines+late.lines == 0:
		return nil
	case c.last:
		data = e.line(c.time, summary(e.kept.over, late, e.logs.budget))
	case c.gap && !e.marked:
		data = append(e.line(c.time, lateMark), data...)
	}
	if err := store.Put(ctx, c.key, bytes.NewReader(data), int64(len(data))); err != nil {
		return fmt.Errorf("upload log lines: %w", err)
	}
	e.marked = e.marked || c.gap
	e.kept.add(keptChunk{c.key, c.time, int64(len(c.data)), int64(c.lines)}, e.logs.budget)
	return nil
}

// makeRoom removes what the budget has no room for beside c. The first time, a line in its place says so.
func (e *engineLog) makeRoom(ctx context.Context, store storage.Store, c chunk) error {
	for _, old := range e.kept.surplus(int64(len(c.data)), e.logs.budget) {
		if !e.kept.marked {
			line := e.line(old.time, overMark(e.logs.budget))
			key := strings.TrimSuffix(old.key, ".jsonl") + "-gap.jsonl" // which comes right before it
			if err := store.Put(ctx, key, bytes.NewReader(line), int64(len(line))); err != nil {
				return fmt.Errorf("upload log lines: %w", err)
			}
			e.kept.marked = true
		}
		if err := store.Delete(ctx, old.key); err != nil {
			return fmt.Errorf("make room for log lines: %w", err)
		}
		e.kept.drop()
	}
	return nil
}
