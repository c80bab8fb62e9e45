package tasklog

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// TestReader: each line comes once, in order, also one that was stored late; a look between two sweeps costs what is
// new and not what is there.
func TestReader(t *testing.T) {
	store := &counted{Store: memstore.New(memstore.Config{})}
	begin := time.UnixMilli(1_700_000_000_000)
	put := func(at time.Time, line string) {
		body := fmt.Sprintf("{\"line\":%q}\n", line)
		key := fmt.Sprintf("%s%013d-node-r0-g1.jsonl", layout.Logs("trial-1"), at.UnixMilli())
		if err := store.Put(t.Context(), key, strings.NewReader(body), int64(len(body))); err != nil {
			t.Fatal(err)
		}
	}
	reader := New(store, "trial-1")
	look := func(now time.Time, sweep bool, want ...string) {
		t.Helper()
		var got []string
		opened, closed := 0, 0
		if err := reader.Send(t.Context(), now, sweep, Sink{
			Open:  func() error { opened++; return nil },
			Close: func() { closed++ },
			Send: func(r *tandemv1.StreamLogsResponse) error {
				got = append(got, r.GetLine())
				return nil
			},
		}); err != nil {
			t.Fatal(err)
		}
		if needed := min(1, len(want)); opened != needed || closed != needed { // who only waits takes no room
			t.Errorf("at %s: room was made %d times and given back %d times for %d lines", now.Sub(begin), opened, closed, len(want))
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
	look(now.Add(span), false)
	if store.listed > 250 {
		t.Errorf("2 looks listed %d objects", store.listed)
	}
	look(now.Add(span), true, "late")
	// The turn of a span: what was stored just before it is not left to the sweep.
	turn := begin.Truncate(span).Add(20 * span)
	put(turn.Add(-time.Millisecond), "before the turn")
	look(turn, false, "before the turn")
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"t":"2026-01-02T03:04:05Z","node":"node-a","rank":1,"gen":2,"line":"hello"}` + "\n" + `{"line":"world"}`))
	f.Add([]byte(`{"t":"2026`))
	f.Add([]byte("\n"))
	f.Add([]byte(`{"rank":4294967296}`))
	f.Add([]byte{0xff, '\n'})
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := 0
		err := read(strings.NewReader(string(data)), func(line) error { lines++; return nil })
		if most := strings.Count(string(data), "\n") + 1; lines > most {
			t.Errorf("%d lines of %d", lines, most)
		}
		if err == nil && len(data) > 0 && lines == 0 {
			t.Errorf("%q was read as nothing", data)
		}
	})
}
