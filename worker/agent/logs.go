package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/rotate"
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

// logs takes the output of all engines of a node.
type logs struct {
	node    string
	local   *rotate.File
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
	late   leftOut       // that the store did not take in time
	full   chan struct{} // a chunk was sealed

	kept   retention // only the uploader touches it
	marked bool      // and this: the log says that lines came late
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
		if err := e.logs.local.Append(append(b, '\n')); err != nil {
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

// flush takes last lines that have no end.
func (e *engineLog) flush() {
	e.stdout.flush()
	e.stderr.flush()
}

// close ends the log, once; what is left goes up in the background. end is how the engine ended, for its last line, and empty where it
// ended well: whatever else it wrote, its log says that.
func (e *engineLog) close(end string) {
	e.over.Do(func() {
		e.flush()
		if end != "" {
			e.add("(" + end + ")")
		}
		e.sealLast(e.logs.now())
		close(e.done)
	})
}
