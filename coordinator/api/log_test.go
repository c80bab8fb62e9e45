package api

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/memstore"
)

// counted counts the objects that are listed.
type counted struct {
	storage.Store
	listed int
}

func (c *counted) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for info, err := range c.Store.List(ctx, prefix) {
			c.listed++
			if !yield(info, err) {
				return
			}
		}
	}
}

// TestLogReader: each line comes once, in order, also one that was stored late; a look between two sweeps costs what is
// new and not what is there.
func TestLogReader(t *testing.T) {
	store := &counted{Store: memstore.New(memstore.Config{})}
	begin := time.UnixMilli(1_700_000_000_000)
	put := func(at time.Time, line string) {
		body := fmt.Sprintf("{\"line\":%q}\n", line)
		key := fmt.Sprintf("%s%013d-node-r0-g1.jsonl", layout.Logs("trial-1"), at.UnixMilli())
		if err := store.Put(t.Context(), key, strings.NewReader(body), int64(len(body))); err != nil {
			t.Fatal(err)
		}
	}
	reader := &logReader{store: store, trial: "trial-1", seen: map[string]bool{}}
	look := func(now time.Time, sweep bool, want ...string) {
		t.Helper()
		var got []string
		if err := reader.send(t.Context(), now, sweep, func(r *tandemv1.StreamLogsResponse) error {
			got = append(got, r.GetLine())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("at %s: %s", now.Sub(begin), d)
		}
	}
	var old []string
	for i := range 1000 {
		line := fmt.Sprintf("line %04d", i)
		put(begin.Add(time.Duration(i)*time.Second), line)
		old = append(old, line)
	}
	now := begin.Add(1000 * time.Second)
	look(now, true, old...)
	store.listed = 0
	put(now, "new")
	put(begin.Add(time.Minute+time.Millisecond), "late")
	look(now.Add(time.Second), false, "new")
	look(now.Add(logSpan), false)
	if store.listed > 250 {
		t.Errorf("2 looks listed %d objects", store.listed)
	}
	look(now.Add(logSpan), true, "late")
	// The turn of a span: what was stored just before it is not left to the sweep.
	turn := begin.Truncate(logSpan).Add(20 * logSpan)
	put(turn.Add(-time.Millisecond), "before the turn")
	look(turn, false, "before the turn")
}

// TestLogPause: who follows a log hears of the job's end at once, and looks a last time when its grace is over.
func TestLogPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := state.New()
		put := func(rows ...proto.Message) {
			tx := s.Begin()
			tx.SetIndex(s.Index() + 1)
			for _, r := range rows {
				tx.Put(r)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		cfg := DefaultConfig()
		cfg.LogPoll = time.Hour
		a := jobs{&API{cfg: cfg, deps: Deps{State: s}}}
		put(&tandemv1.Job{Id: "job-1", State: tandemv1.JobState_JOB_STATE_RUNNING})
		time.AfterFunc(time.Minute, func() { put(&tandemv1.Job{Id: "job-2"}) })
		time.AfterFunc(2*time.Minute, func() { put(&tandemv1.Job{Id: "job-1", State: tandemv1.JobState_JOB_STATE_COMPLETED}) })
		begin := time.Now()
		if err := a.logPause(t.Context(), "job-1", time.Time{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 2*time.Minute {
			t.Errorf("the end of the job was heard of after %s", took)
		}
		ended := time.Now()
		if err := a.logPause(t.Context(), "job-1", ended); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(ended); took != logGrace {
			t.Errorf("the last look comes %s after the end", took)
		}
	})
}

func FuzzReadLog(f *testing.F) {
	f.Add([]byte(`{"t":"2026-01-02T03:04:05Z","node":"node-a","rank":1,"gen":2,"line":"hello"}` + "\n" + `{"line":"world"}`))
	f.Add([]byte(`{"t":"2026`))
	f.Add([]byte("\n"))
	f.Add([]byte(`{"rank":4294967296}`))
	f.Add([]byte{0xff, '\n'})
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := 0
		err := readLog(strings.NewReader(string(data)), func(logLine) error { lines++; return nil })
		if most := strings.Count(string(data), "\n") + 1; lines > most {
			t.Errorf("%d lines of %d", lines, most)
		}
		if err == nil && len(data) > 0 && lines == 0 {
			t.Errorf("%q was read as nothing", data)
		}
	})
}
