package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/proto/page"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
)

func newLog(t *testing.T, dir string, change func(*Config), store storage.Store) *Log {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Dir, cfg.Coordinator = dir, "node-1"
	if change != nil {
		change(&cfg)
	}
	l, err := New(cfg, Deps{Store: func() (storage.Store, error) {
		if store == nil {
			return nil, errors.New("no store")
		}
		return store, nil
	}, Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func entry(actor, method, outcome string) *tandemv1.AuditEntry {
	return &tandemv1.AuditEntry{Actor: actor, Method: method, Outcome: outcome, Address: "192.0.2.1"}
}

// told is what a log lists: actor, method, outcome and count of each entry.
func told(t *testing.T, l *Log, req *tandemv1.ListAuditRequest) (lines, broken []string) {
	t.Helper()
	res, err := l.List(req)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range res.GetEntries() {
		line := e.GetActor() + " " + e.GetMethod() + " " + e.GetOutcome()
		if e.GetCount() > 0 {
			line += " x" + strings.Repeat("i", int(min(e.GetCount(), 20)))
		}
		lines = append(lines, line)
	}
	return lines, res.GetBroken()
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestRecordAndList(t *testing.T) {
	dir := t.TempDir()
	l := newLog(t, dir, nil, nil)
	l.Record(entry("ann", "JobService/SubmitJob", "ok"))
	l.Record(entry("bob", "JobService/SubmitJob", "invalid_argument"))
	l.Record(entry("bob", "TokenService/CreateToken", "permission_denied"))
	again := newLog(t, dir, nil, nil) // a restart goes on with the chain
	again.Record(entry("ann", "ClusterService/RemovePeer", "ok"))
	all, broken := told(t, again, &tandemv1.ListAuditRequest{})
	same(t, "all", all, "ann JobService/SubmitJob ok", "bob JobService/SubmitJob invalid_argument", "bob TokenService/CreateToken permission_denied", "ann ClusterService/RemovePeer ok")
	same(t, "broken", broken)
	for _, tc := range []struct {
		req  *tandemv1.ListAuditRequest
		want []string
	}{
		{&tandemv1.ListAuditRequest{Actor: "ann"}, []string{all[0], all[3]}},
		{&tandemv1.ListAuditRequest{Method: "submitjob"}, all[:2]},
		{&tandemv1.ListAuditRequest{Outcome: "denied"}, all[2:3]},
		{&tandemv1.ListAuditRequest{Outcome: "ok", Limit: 1}, all[3:]},
		{&tandemv1.ListAuditRequest{Limit: 2}, all[2:]},
		{&tandemv1.ListAuditRequest{Since: timestamppb.New(time.Now().Add(time.Hour))}, nil},
	} {
		got, _ := told(t, again, tc.req)
		same(t, tc.req.String(), got, tc.want...)
	}
	files, err := again.files()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestChangesShow: a line that was changed, and one that was cut out, are found.
func TestChangesShow(t *testing.T) {
	for name, change := range map[string]func([][]byte) [][]byte{
		"changed": func(lines [][]byte) [][]byte {
			lines[1] = bytes.Replace(lines[1], []byte("bob"), []byte("eve"), 1)
			return lines
		},
		"cut":  func(lines [][]byte) [][]byte { return slices.Delete(lines, 1, 2) },
		"junk": func(lines [][]byte) [][]byte { return slices.Insert(lines, 2, []byte("x\n")) },
		"zeros of a disk that lost power": func(lines [][]byte) [][]byte {
			return slices.Insert(lines, 2, make([]byte, 2*maxLine+1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := newLog(t, dir, nil, nil)
			for _, who := range []string{"ann", "bob", "eve", "bob"} {
				l.Record(entry(who, "m", "ok"))
			}
			files, err := l.files()
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			b, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(files[0], bytes.Join(change(bytes.SplitAfter(b, []byte("\n"))), nil), 0o600); err != nil {
				t.Fatal(err)
			}
			again := newLog(t, dir, nil, nil) // a restart goes on, whatever is in the file
			again.Record(entry("mia", "m", "ok"))
			all, broken := told(t, again, &tandemv1.ListAuditRequest{})
			if len(broken) == 0 {
				t.Error("nobody sees it")
			}
			if n := len(all); n == 0 || all[n-1] != "mia m ok" {
				t.Errorf("what comes after it is not shown: %q", all)
			}
		})
	}
}

// TestFloodOfDeniedCalls: a second of them is a few lines, however many they were and wherever they came from, and none is forgotten.
func TestFloodOfDeniedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, t.TempDir(), nil, nil)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		synctest.Wait()
		for range 10_000 {
			l.Record(entry("", "/v2", "unauthenticated"))
		}
		for i := range 10_000 {
			e := entry("", "/v2", "unauthenticated")
			e.Address = string(rune('a' + i))
			l.Record(e)
		}
		l.Record(entry("ann", "m", "ok"))
		time.Sleep(2 * time.Second)
		l.Record(entry("", "/v2", "unauthenticated"))
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		res, err := l.List(&tandemv1.ListAuditRequest{})
		if err != nil {
			t.Fatal(err)
		}
		entries := res.GetEntries()
		total := int64(0)
		for _, e := range entries {
			total += max(1, e.GetCount())
		}
		if len(entries) > 2*maxRepeats+5 || total != 20_002 {
			t.Errorf("%d entries stand for %d calls", len(entries), total)
		}
	})
}

// TestExport: sealed files go to the store, and only a few stay; what the store does not take stays longer.
func TestExport(t *testing.T) {
	dir, store := t.TempDir(), memstore.New(memstore.Config{})
	l := newLog(t, dir, func(c *Config) { c.SegmentBytes, c.Keep = 1, 2 }, nil)
	for range 5 {
		l.Record(entry("ann", "m", "ok"))
	}
	if err := l.export(t.Context()); err == nil {
		t.Error("exported to nowhere")
	}
	if files, _ := l.files(); len(files) != 5 {
		t.Errorf("%d files without a store", len(files))
	}
	l.deps.Store = func() (storage.Store, error) { return store, nil }
	if err := l.export(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for info, err := range store.List(t.Context(), "audit/node-1/") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(info.Key, ".jsonl") || info.Size < 10 {
			t.Errorf("stored %s of %d bytes", info.Key, info.Size)
		}
		stored++
	}
	files, err := l.files()
	if err != nil || len(files) != 2 || stored != 5 {
		t.Errorf("%d stored, %v stay, %v", stored, files, err)
	}
	l.Record(entry("bob", "m", "ok"))
	all, broken := told(t, l, &tandemv1.ListAuditRequest{})
	same(t, "what stays", all, "ann m ok", "ann m ok", "bob m ok")
	same(t, "broken", broken)
}

// TestNoRoom: an entry that cannot be written is counted, and the next one that can is.
func TestNoRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	l := newLog(t, dir, nil, nil)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	l.Record(entry("ann", "m", "ok"))
	if l.Lost() != 1 {
		t.Errorf("%d entries are lost", l.Lost())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Record(entry("bob", "m", "ok"))
	all, _ := told(t, l, &tandemv1.ListAuditRequest{})
	same(t, "after that", all, "bob m ok")
}

// TestPages: page by page every entry is listed once, newest page first, over files and at one moment too, also while others are written.
func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time stands still, so many are of one moment
		l := newLog(t, t.TempDir(), func(c *Config) { c.SegmentBytes = 1000 }, nil)
		const made = 31
		for i := range made {
			l.Record(entry(string(rune('A'+i)), "m", "ok"))
			if i%5 == 0 {
				time.Sleep(time.Second)
			}
		}
		seen, pages := map[string]bool{}, 0
		for req := (&tandemv1.ListAuditRequest{Limit: 4}); ; pages++ {
			res, err := l.List(req)
			if err != nil || pages > made {
				t.Fatal(pages, err)
			}
			for _, e := range res.GetEntries() {
				if seen[e.GetActor()] || e.GetMethod() != "m" {
					t.Errorf("%v is in two pages, or later than the first", e)
				}
				seen[e.GetActor()] = true
			}
			if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
			if len(res.GetEntries()) != 4 || !strings.HasPrefix(req.GetPageToken(), PageToken(res.GetEntries()[0])) {
				t.Errorf("page %d has %d entries and token %s", pages, len(res.GetEntries()), req.GetPageToken())
			}
			time.Sleep(time.Second)
			l.Record(entry("later", "later", "ok"))
		}
		if len(seen) != made || pages != 7 {
			t.Errorf("%d entries on %d pages", len(seen), pages+1)
		}
		for _, token := range []string{"x", "audit:5", "5/node-1/", "audit:5/node-1", "audit:x/y/z", "audit:9999999999999999999/node-1/"} {
			if _, err := l.List(&tandemv1.ListAuditRequest{PageToken: token}); !errors.Is(err, page.ErrToken) {
				t.Errorf("token %q: %v", token, err)
			}
		}
	})
}
