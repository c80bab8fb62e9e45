package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	chunkBytes   = 256 << 10 // a chunk of lines goes up at this size
	backlogBytes = 4 << 20   // lines that wait for a store that does not answer; the oldest go first
	uploadTime   = 30 * time.Second
)

// logLine is one line of a chunk.
type logLine struct {
	Time time.Time `json:"t"`
	Node string    `json:"node"`
	Rank int32     `json:"rank"`
	Gen  int64     `json:"gen"`
	Line string    `json:"line"`
}

// localLine is one line of the local file.
type localLine struct {
	Time   time.Time `json:"t"`
	Engine string    `json:"engine"`
	Gen    int64     `json:"gen"`
	Line   string    `json:"line"`
}

// chunk is an object to be: sealed once, so that a repeated upload has the same key and bytes.
type chunk struct {
	key   string
	time  time.Time
	data  []byte
	lines int
	lost  int // lines dropped between the chunk before and this one; it changes only before this is the oldest
}

// logs takes the output of all engines of a node.
type logs struct {
	node    string
	local   *rotatingFile
	objects *objects
	every   time.Duration
	budget  int64 // bytes that one task's log may take in the store
	now     func() time.Time
	log     zerolog.Logger
	metrics *metrics
	uploads sync.WaitGroup
}

// engineLog is the output of one engine.
type engineLog struct {
	logs           *logs
	task           *tandemv1.EngineTask
	stdout, stderr lineWriter
	last           tail // of stderr
	done           chan struct{}
	over           sync.Once // closes done
	// mark is the line after which an output has nothing more of the task; the channel of that output is closed then.
	mark                     string
	stdoutEnded, stderrEnded chan struct{}

	mu     sync.Mutex
	buffer bytes.Buffer // lines not sealed yet
	lines  int
	sealed []chunk
	bytes  int // in sealed
	stamp  int64
	full   chan struct{} // a chunk was sealed

	kept retention // only the uploader touches it
}

// of opens the log of an engine. Its lines are uploaded until ctx ends, or close and all is up.
func (l *logs) of(ctx context.Context, task *tandemv1.EngineTask) *engineLog {
	e := &engineLog{
		logs: l, task: task, last: tail{limit: 12},
		done: make(chan struct{}), full: make(chan struct{}, 1),
		mark: rand.Text(), stdoutEnded: make(chan struct{}), stderrEnded: make(chan struct{}),
	}
	e.stdout.emit = e.until(e.stdoutEnded, e.add)
	e.stderr.emit = e.until(e.stderrEnded, func(line string) {
		e.last.add(line)
		e.add(line)
	})
	if trialOf(task) != "" {
		l.uploads.Go(func() { e.upload(ctx) })
	}
	return e
}

// until hands on lines to add up to the mark, which may stand behind a line without an end.
func (e *engineLog) until(ended chan struct{}, add func(line string)) func(line string) {
	over := false
	return func(line string) {
		text, marked := strings.CutSuffix(line, e.mark)
		if text != "" || !marked {
			add(text)
		}
		if marked && !over {
			over = true
			close(ended)
		}
	}
}

// add takes one line. It never waits for the store.
func (e *engineLog) add(line string) {
	now := e.logs.now().UTC()
	e.logs.metrics.logBytes.Add(float64(len(line)))
	if b, err := json.Marshal(localLine{now, e.task.GetId(), e.task.GetGeneration(), line}); err == nil {
		if err := e.logs.local.append(append(b, '\n')); err != nil {
			e.logs.metrics.logErrors.Inc()
		}
	}
	if trialOf(e.task) == "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buffer.Write(e.line(now, line))
	e.lines++
	if e.buffer.Len() >= chunkBytes {
		e.seal(now)
		select {
		case e.full <- struct{}{}:
		default:
		}
	}
}

// line is one line of a chunk.
func (e *engineLog) line(now time.Time, text string) []byte {
	b, err := json.Marshal(logLine{now, e.logs.node, e.task.GetTrain().GetMember(), e.task.GetGeneration(), text})
	if err != nil {
		return nil // strings, numbers and a time: cannot happen
	}
	return append(b, '\n')
}

// seal turns the lines so far into a chunk; it needs mu.
func (e *engineLog) seal(now time.Time) {
	if e.buffer.Len() == 0 {
		return
	}
	e.stamp = max(e.stamp+1, now.UnixMilli()) // keys of one engine sort by time and are never equal
	key := fmt.Sprintf("trials/%s/logs/%013d-%s-r%d-g%d.jsonl",
		trialOf(e.task), e.stamp, e.logs.node, e.task.GetTrain().GetMember(), e.task.GetGeneration())
	e.sealed = append(e.sealed, chunk{key: key, time: now.UTC(), data: bytes.Clone(e.buffer.Bytes()), lines: e.lines})
	e.bytes += e.buffer.Len()
	e.buffer.Reset()
	e.lines = 0
	for e.bytes > backlogBytes && len(e.sealed) > 1 {
		oldest := e.sealed[0]
		e.sealed = e.sealed[1:]
		e.sealed[0].lost += oldest.lost + oldest.lines
		e.bytes -= len(oldest.data)
	}
}

// close ends the log, once; what is left goes up in the background.
func (e *engineLog) close() {
	e.stdout.flush()
	e.stderr.flush()
	e.over.Do(func() { close(e.done) })
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
		err := e.flush(ctx)
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

// flush seals what there is and puts all chunks, oldest first.
func (e *engineLog) flush(ctx context.Context) error {
	e.mu.Lock()
	e.seal(e.logs.now())
	e.mu.Unlock()
	for {
		e.mu.Lock()
		if len(e.sealed) == 0 {
			e.mu.Unlock()
			return nil
		}
		c := e.sealed[0]
		e.mu.Unlock()
		if err := e.put(ctx, c); err != nil {
			return err
		}
		e.mu.Lock()
		if len(e.sealed) > 0 && e.sealed[0].key == c.key { // it may have been dropped meanwhile
			e.sealed = e.sealed[1:]
			e.bytes -= len(c.data)
		}
		e.mu.Unlock()
	}
}

func (e *engineLog) put(ctx context.Context, c chunk) error {
	store, err := e.logs.objects.get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	for _, old := range e.kept.surplus(int64(len(c.data)), e.logs.budget) {
		if err := store.Delete(ctx, old.key); err != nil {
			return fmt.Errorf("make room for log lines: %w", err)
		}
		e.kept.drop()
	}
	var notes []byte
	if c.lost > 0 {
		notes = e.line(c.time, fmt.Sprintf("(%d earlier lines were lost: the store did not answer)", c.lost))
	}
	if e.kept.lines > 0 {
		notes = append(notes, e.line(c.time, e.kept.note(e.logs.budget))...)
	}
	data := append(notes, c.data...)
	if err := store.Put(ctx, c.key, bytes.NewReader(data), int64(len(data))); err != nil {
		return fmt.Errorf("upload log lines: %w", err)
	}
	e.kept.add(keptChunk{c.key, int64(len(c.data)), int64(c.lines)}, e.logs.budget)
	return nil
}
