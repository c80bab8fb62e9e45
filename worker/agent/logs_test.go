package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
	"tandem.dev/worker/rotate"
)

// logged runs f in a bubble with the log of one engine; the store fails while broken.
func logged(t *testing.T, task *tandemv1.EngineTask, broken *atomic.Bool, f func(*engineLog, *memstore.Store)) {
	path := filepath.Join(t.TempDir(), "engines.log")
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(memstore.Config{Hook: func(context.Context, memstore.Op) memstore.Fault {
			if broken != nil && broken.Load() {
				return memstore.Fault{Err: storage.ErrUnavailable}
			}
			return memstore.Fault{}
		}})
		local, err := rotate.Open(path, 1<<30, 1)
		must(t, err)
		l := &logs{
			node: "node-1", local: local, every: 2 * time.Second, budget: 64 << 20, now: time.Now, metrics: newMetrics("test"), log: zerolog.Nop(),
			objects: &objects{open: func(*tandemv1.StorageConfig) (storage.Store, error) { return store, nil }},
		}
		l.objects.learn(&tandemv1.SessionResponse{Engines: []*tandemv1.EngineTask{task}})
		e := l.of(t.Context(), task)
		f(e, store)
		l.uploads.Wait()
		must(t, local.Close())
	})
}

// stored returns the lines in the store, in order of keys.
func stored(t *testing.T, store *memstore.Store) []string {
	t.Helper()
	var lines []string
	for _, key := range store.Keys() {
		must(t, storage.CheckKey(key))
		b, err := store.Bytes(key)
		must(t, err)
		for raw := range bytes.Lines(b) {
			var l logLine
			must(t, json.Unmarshal(raw, &l))
			lines = append(lines, l.Line)
		}
	}
	return lines
}

func emit(t *testing.T, e *engineLog, format string, args ...any) {
	t.Helper()
	_, err := fmt.Fprintf(&e.stdout, format+"\n", args...)
	must(t, err)
}

func TestLogFlush(t *testing.T) {
	logged(t, task("a", 3, 1), nil, func(e *engineLog, store *memstore.Store) {
		emit(t, e, "one")
		time.Sleep(time.Second)
		emit(t, e, "two")
		if n := len(store.Keys()); n != 0 {
			t.Errorf("%d chunks at once", n)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if d := cmp.Diff([]string{"one", "two"}, stored(t, store)); d != "" {
			t.Error(d)
		}
		time.Sleep(10 * time.Second)
		if n := len(store.Keys()); n != 1 {
			t.Errorf("%d chunks of two lines", n)
		}
		emit(t, e, "last") // without an end of its own it counts as well
		_, err := e.stderr.Write([]byte("no end"))
		must(t, err)
		e.close("")
		synctest.Wait()
		if d := cmp.Diff([]string{"one", "two", "last", "no end"}, stored(t, store)); d != "" {
			t.Error(d)
		}
		began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
		want := []string{
			fmt.Sprintf("trials/trial-a/logs/%013d-node-1-r1-g3.jsonl", began+2000),
			fmt.Sprintf("trials/trial-a/logs/%013d-node-1-r1-g3.jsonl", began+12500),
		}
		if d := cmp.Diff(want, store.Keys()); d != "" {
			t.Error(d)
		}
	})
}

func TestLogChunkWhenFull(t *testing.T) {
	logged(t, task("a", 1, 0), nil, func(e *engineLog, store *memstore.Store) {
		for i := range 400 {
			emit(t, e, "%04d %s", i, strings.Repeat("x", 2000)) // 800 KB within one instant
		}
		synctest.Wait()
		if n := len(store.Keys()); n < 3 {
			t.Errorf("%d chunks before the time is up", n)
		}
		e.close("")
		synctest.Wait()
		lines := stored(t, store)
		if len(lines) != 400 || !slices.IsSorted(lines) {
			t.Errorf("%d lines, in order: %v", len(lines), slices.IsSorted(lines))
		}
	})
}

func TestLogKeepsLinesWhileTheStoreFails(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	logged(t, task("a", 1, 0), &broken, func(e *engineLog, store *memstore.Store) {
		emit(t, e, "one")
		time.Sleep(time.Minute)
		emit(t, e, "two")
		time.Sleep(time.Minute)
		broken.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]string{"one", "two"}, stored(t, store)); d != "" {
			t.Error(d)
		}
		e.close("")
	})
}

func TestLogBacklogIsBounded(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	logged(t, task("a", 1, 0), &broken, func(e *engineLog, store *memstore.Store) {
		const lines = 10_000 // of 1 KB: more than twice the backlog
		for i := range lines {
			emit(t, e, "%05d %s", i, strings.Repeat("x", 1000))
		}
		synctest.Wait()
		e.mu.Lock()
		held := e.bytes + e.buffer.Len()
		e.mu.Unlock()
		if held > backlogBytes+2*chunkBytes {
			t.Errorf("%d bytes wait", held)
		}
		broken.Store(false)
		e.close("")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		got := stored(t, store)
		const lost = 1 // one line says where lines are left out for the first time, the last one how many
		kept := len(got) - lost - 1
		marks := 0
		for _, line := range got {
			if line == lateMark {
				marks++
			}
		}
		if marks != lost || kept < 1000 {
			t.Errorf("%d lines are there, %d say that some are not", kept, marks)
		}
		want := fmt.Sprintf("(left out of this log: %d lines (", lines-kept)
		if end := got[len(got)-1]; !strings.HasPrefix(end, want) || !strings.HasSuffix(end, "that the store did not take in time)") {
			t.Errorf("the end is %q, want %q", end, want)
		}
	})
}

// TestLogOfAFastEngine: a chunk whose answer is lost is in the store, so it is not counted as left out, however many lines come meanwhile.
func TestLogOfAFastEngine(t *testing.T) {
	var broken atomic.Bool
	logged(t, task("a", 1, 0), nil, func(e *engineLog, store *memstore.Store) {
		put := e.logs.objects.open
		e.logs.objects.open = func(c *tandemv1.StorageConfig) (storage.Store, error) {
			s, err := put(c)
			return silent{s, &broken}, err
		}
		broken.Store(true)
		const lines = 10_000
		for i := range lines {
			emit(t, e, "%05d %s", i, strings.Repeat("x", 1000))
			if i == 1000 {
				synctest.Wait() // the first chunk is stored, and nobody knows
			}
		}
		broken.Store(false)
		e.close("the task failed: it is told")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		got := stored(t, store)
		left := 0
		for _, line := range got {
			if strings.HasPrefix(line, "0") {
				left++
			}
		}
		if d := cmp.Diff(fmt.Sprintf("(left out of this log: %d lines", lines-left), strings.SplitAfter(got[len(got)-1], "lines")[0]); d != "" {
			t.Error(d)
		}
		if got[len(got)-2] != "(the task failed: it is told)" || !strings.HasPrefix(got[len(got)-3], "09999 ") {
			t.Errorf("the log ends with %.80q", got[len(got)-3:])
		}
	})
}

// silent is a store whose answers to Put are lost.
type silent struct {
	storage.Store
	broken *atomic.Bool
}

func (s silent) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	err := s.Store.Put(ctx, key, r, size)
	if s.broken.Load() {
		return storage.ErrUnavailable
	}
	return err
}

func TestReplicaLogsStayHere(t *testing.T) {
	replica := &tandemv1.EngineTask{Id: "replica-1", Task: &tandemv1.EngineTask_Serve{Serve: &tandemv1.ServeTask{ReplicaId: "replica-1"}}}
	logged(t, replica, nil, func(e *engineLog, store *memstore.Store) {
		emit(t, e, "hello")
		e.close("")
		time.Sleep(time.Minute)
		if store.Ops() != 0 {
			t.Error("lines of a replica went to the store")
		}
		b, err := os.ReadFile(e.logs.local.Name())
		must(t, err)
		if !bytes.Contains(b, []byte(`"engine":"replica-1"`)) || !bytes.Contains(b, []byte(`"line":"hello"`)) {
			t.Errorf("local file: %s", b)
		}
	})
}

// FuzzLines: however a stream is cut into writes, the lines are the same, and none is too long.
func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\r\n\nlast"), 3)
	f.Add([]byte(strings.Repeat("x", 3*maxLine)+"\nshort\n"), 1000)
	f.Add([]byte("\xff\xfe broken \xc3\n"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		lines := func(step int) []string {
			var all []string
			w := lineWriter{emit: func(line string) { all = append(all, line) }}
			for rest := stream; len(rest) > 0; {
				n := min(step, len(rest))
				if k, err := w.Write(rest[:n]); k != n || err != nil {
					t.Fatal(k, err)
				}
				rest = rest[n:]
			}
			w.flush()
			return all
		}
		whole := lines(max(1, len(stream)))
		if d := cmp.Diff(whole, lines(max(1, cut))); d != "" {
			t.Error(d)
		}
		for _, line := range whole {
			if strings.ContainsRune(line, '\n') || len(line) > 3*maxLine+3 || !json.Valid(mustJSON(t, line)) {
				t.Errorf("line %q", line)
			}
		}
	})
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return b
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newReportQueue(2)
		ctx := t.Context()
		for i := range 2 {
			must(t, q.push(ctx, &tandemv1.EngineReport{Generation: int64(i)}))
		}
		pushed := make(chan error, 1)
		go func() { pushed <- q.push(ctx, &tandemv1.EngineReport{Generation: 2}) }()
		synctest.Wait()
		select {
		case <-pushed:
			t.Fatal("a full queue took a report")
		default:
		}
		q.pushNow(&tandemv1.EngineReport{Generation: 3}) // the agent's own never waits
		got, err := q.peek(ctx, 2)
		must(t, err)
		if len(got) != 2 || got[0].GetGeneration() != 0 || got[1].GetGeneration() != 1 || q.length() != 3 {
			t.Errorf("peek %v of %d", got, q.length())
		}
		q.drop(2)
		must(t, <-pushed)
		got, err = q.peek(ctx, 9)
		must(t, err)
		if len(got) != 2 || got[0].GetGeneration() != 3 || got[1].GetGeneration() != 2 {
			t.Errorf("peek %v", got)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := q.drained(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drained: %v", err)
		}
		q.drop(2)
		must(t, q.drained(ctx))
	})
}

// TestLogBudget: of a log that is larger than its budget the store has the beginning and the end, and a line that says what is missing.
func TestLogBudget(t *testing.T) {
	logged(t, task("a", 1, 0), nil, func(e *engineLog, store *memstore.Store) {
		const budget, line, total = 4 << 20, 2000, 8000 // 16 MB
		e.logs.budget = budget
		for i := range total {
			emit(t, e, "%06d %s", i, strings.Repeat("x", line-7))
			if i%500 == 499 {
				synctest.Wait()
			}
		}
		e.close("")
		synctest.Wait()
		bytes := 0
		for _, key := range store.Keys() {
			b, err := store.Bytes(key)
			must(t, err)
			bytes += len(b)
		}
		if bytes > budget+chunkBytes || bytes < budget/2 {
			t.Errorf("%d bytes are stored, the budget is %d", bytes, budget)
		}
		var numbers []int
		var notes []string
		for _, text := range stored(t, store) {
			number := 0
			if _, err := fmt.Sscanf(text, "%06d ", &number); err != nil {
				notes = append(notes, fmt.Sprintf("after %d: %s", numbers[len(numbers)-1], text))
				continue
			}
			numbers = append(numbers, number)
		}
		if !slices.IsSorted(numbers) || numbers[0] != 0 || numbers[len(numbers)-1] != total-1 {
			t.Errorf("lines %d to %d, sorted: %v", numbers[0], numbers[len(numbers)-1], slices.IsSorted(numbers))
		}
		gap := 0 // the last line of the beginning
		for numbers[gap+1] == gap+1 {
			gap++
		}
		left, stays := total-len(numbers), len(e.line(time.Now().UTC(), strings.Repeat("x", line)))
		want := []string{
			fmt.Sprintf("after %d: (lines are left out here: of a log with more than 4 MiB the store keeps the beginning and the newest lines; "+
				"its end says how many)", gap),
			fmt.Sprintf("after %d: (left out of this log: %d lines (%d bytes) over the budget of 4 MiB for the log of a task)",
				total-1, left, left*stays),
		}
		if d := cmp.Diff(want, notes); d != "" {
			t.Error(d)
		}
	})
}
