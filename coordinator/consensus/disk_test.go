package consensus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// plainTCP is a stream layer without TLS.
type plainTCP struct{ net.Listener }

func (plainTCP) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}

// nobody forwards: the only coordinator leads.
type nobody struct{}

func (nobody) Propose(context.Context, string, *tandemv1.Command) (*tandemv1.Result, error) {
	return nil, consensus.ErrNotLeader
}
func (nobody) ReadIndex(context.Context, string) (uint64, error) { return 0, consensus.ErrNotLeader }

// onDisk starts a single coordinator in dir; the returned function stops it.
func onDisk(t *testing.T, dir string, log zerolog.Logger, change ...func(*consensus.Config)) (*consensus.Node, *state.State, func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // another port each time: the address heals itself
	if err != nil {
		t.Fatal(err)
	}
	cfg := consensus.DefaultConfig()
	cfg.ID, cfg.Address, cfg.Dir, cfg.Bootstrap = "coordinator-0", listener.Addr().String(), dir, true
	cfg.Heartbeat = 100 * time.Millisecond
	cfg.SnapshotThreshold, cfg.SnapshotInterval, cfg.TrailingLogs = 10, 20*time.Millisecond, 5
	for _, c := range change {
		c(&cfg)
	}
	s := state.New()
	node, err := consensus.New(cfg, consensus.Deps{
		State: s, StreamLayer: plainTCP{listener}, Forward: nobody{}, Log: log, Fatal: func(err error) { t.Errorf("fatal: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	return node, s, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestRestartFromDisk(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	var log bytes.Buffer
	node, s, stop := onDisk(t, dir, zerolog.New(zerolog.SyncWriter(&log)))
	made := 0
	for ; made < 50 || !hasSnapshot(dir); made++ {
		if made == 20_000 {
			t.Fatal("no snapshot was made")
		}
		cmd := &tandemv1.Command{Command: &tandemv1.Command_CreateDataset{CreateDataset: &tandemv1.CreateDataset{
			Dataset: &tandemv1.Dataset{Id: fmt.Sprint("data-", made), Name: "digits", Prefix: "p"},
		}}}
		if r, err := node.Propose(t.Context(), cmd); err != nil || r.GetRefusal() != 0 {
			t.Fatal(r, err)
		}
	}
	before := dump(t, s)
	stop()
	if log.Len() == 0 || !strings.Contains(log.String(), `"part":"raft"`) {
		t.Errorf("Raft has logged nothing: %s", log.String())
	}

	node, s, stop = onDisk(t, dir, zerolog.Nop())
	v, err := node.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(v.Datasets()); n != made || !bytes.Equal(before, dump(t, s)) {
		t.Errorf("%d datasets after the restart", n)
	}
	if r, err := node.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_Expire{Expire: &tandemv1.Expire{}}}); err != nil {
		t.Errorf("%v, %v", r, err)
	}
	cfg := consensus.DefaultConfig()
	cfg.ID, cfg.Address, cfg.Dir = "coordinator-0", "x:1", dir
	_, transport := raft.NewInmemTransport("x:1")
	_, err = consensus.New(cfg, consensus.Deps{State: state.New(), Transport: transport, Forward: nobody{}, Fatal: func(error) {}})
	if err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("a second coordinator on the same folder: %v", err)
	}
	stop()
}

// hasSnapshot says whether a snapshot is complete: while it is written its folder ends in ".tmp".
func hasSnapshot(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".tmp") })
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*consensus.Config){
		"no id":        func(c *consensus.Config) { c.ID = "" },
		"no address":   func(c *consensus.Config) { c.Address = "" },
		"no heartbeat": func(c *consensus.Config) { c.Heartbeat = 0 },
		"no patience":  func(c *consensus.Config) { c.Patience = 0 },
		"no snapshots": func(c *consensus.Config) { c.SnapshotThreshold = 0 },
	} {
		cfg := consensus.DefaultConfig()
		cfg.ID, cfg.Address = "a", "b:1"
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if cfg.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := consensus.DefaultConfig()
	cfg.ID, cfg.Address, cfg.Dir = "a", "b:1", blocked
	_, transport := raft.NewInmemTransport("b:1")
	if _, err := consensus.New(cfg, consensus.Deps{State: state.New(), Transport: transport, Forward: nobody{}, Fatal: func(error) {}}); err == nil {
		t.Error("a file was taken for a data folder")
	}
}

// TestTurnedBit: an entry that is not as it was written is not applied, and a log that is gone is not begun anew.
func TestTurnedBit(t *testing.T) {
	dir := t.TempDir()
	node, _, stop := onDisk(t, dir, zerolog.Nop())
	for range 3 {
		if _, err := node.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_Expire{Expire: &tandemv1.Expire{}}}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	path := filepath.Join(dir, "raft.db")
	begin := func(member bool) error {
		cfg := consensus.DefaultConfig()
		cfg.ID, cfg.Address, cfg.Dir, cfg.Member = "coordinator-0", "x:1", dir, member
		_, transport := raft.NewInmemTransport("x:1")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		again, err := consensus.New(cfg, consensus.Deps{State: state.New(), Transport: transport, Forward: nobody{}, Fatal: func(error) {}})
		if err == nil {
			err = again.Run(ended)
		}
		return err
	}
	if err := begin(true); err != nil {
		t.Fatal(err)
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path, MsgpackUseNewTimeFormat: true})
	if err != nil {
		t.Fatal(err)
	}
	last, err := bolt.LastIndex()
	entry := &raft.Log{}
	if err == nil {
		err = bolt.GetLog(last, entry)
	}
	entry.Data[len(entry.Data)/2] ^= 4
	if err := errors.Join(err, bolt.StoreLog(entry), bolt.Close()); err != nil {
		t.Fatal(err)
	}
	if err := begin(true); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("entry %d is not as it was written; if other", last)) {
		t.Errorf("a turned bit: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := begin(true); err == nil || !strings.Contains(err.Error(), "it is empty, and this coordinator has had one") {
		t.Errorf("a log that is gone: %v", err)
	}
	if err := begin(false); err != nil {
		t.Errorf("the first start: %v", err)
	}
}

// TestDamagedLog: whatever became of the log, the start ends with an error that says what to do, or the node begins.
func TestDamagedLog(t *testing.T) {
	dir := t.TempDir()
	node, _, stop := onDisk(t, dir, zerolog.Nop())
	for range 30 {
		if _, err := node.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_Expire{Expire: &tandemv1.Expire{}}}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	whole, err := os.ReadFile(filepath.Join(dir, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	filled := func(from int, with byte) []byte {
		b := slices.Clone(whole)
		copy(b[from:], bytes.Repeat([]byte{with}, len(b)-from))
		return b
	}
	for name, b := range map[string][]byte{
		"no database":           []byte("this is not a database, and it is long enough to be read as one"),
		"cut within the header": whole[:page+page/2],
		"cut after the header":  whole[:2*page],
		"pages of zeros":        filled(2*page, 0),
		"pages of ones":         filled(2*page, 0xff),
		"header of ones":        filled(0, 0xff),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := consensus.DefaultConfig()
			cfg.ID, cfg.Address, cfg.Dir = "coordinator-0", "x:1", t.TempDir()
			path := filepath.Join(cfg.Dir, "raft.db")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			_, transport := raft.NewInmemTransport("x:1")
			_, err := consensus.New(cfg, consensus.Deps{State: state.New(), Transport: transport, Forward: nobody{}, Fatal: func(error) {}})
			if err == nil || !strings.Contains(err.Error(), path+" is damaged") || !strings.Contains(err.Error(), "remove-peer coordinator-0") {
				t.Errorf("opened a damaged log: %v", err)
			}
		})
	}
}

// TestDamagedFolder: whatever file of the log or its snapshots is lost or damaged, the node begins with all that it has agreed to, or it
// ends with what to do.
func TestDamagedFolder(t *testing.T) {
	fill := func(trailing uint64) (dir string, made int) {
		dir = t.TempDir()
		node, _, stop := onDisk(t, dir, zerolog.Nop(), func(c *consensus.Config) { c.TrailingLogs = trailing })
		for ; made < 50 || !hasSnapshot(dir); made++ {
			if _, err := node.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_CreateDataset{CreateDataset: &tandemv1.CreateDataset{
				Dataset: &tandemv1.Dataset{Id: fmt.Sprint("data-", made), Name: "digits", Prefix: "p"},
			}}}); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		return dir, made
	}
	short, _ := fill(5)
	long, want := fill(1_000_000)
	missing := os.RemoveAll
	empty := func(path string) error { return os.WriteFile(path, nil, 0o600) }
	rubbish := func(path string) error { return os.WriteFile(path, []byte("rubbish"), 0o600) }
	const gone, nowhere, unread = "it is empty, and this coordinator has had one", "is neither in it nor in a snapshot that can be read", "cannot be read"
	for _, tc := range []struct {
		file, how string
		damage    func(string) error
		says      string
		reaches   string // the same, where the log reaches back to the beginning; empty: it begins
	}{
		{"raft.db", "missing", missing, gone, gone},
		{"raft.db", "empty", empty, gone, gone},
		{"raft.db", "rubbish", rubbish, "invalid database", "invalid database"},
		{"snapshots", "missing", missing, nowhere, ""},
		{"snapshots/*/meta.json", "missing", missing, nowhere, ""},
		{"snapshots/*/meta.json", "empty", empty, nowhere, ""},
		{"snapshots/*/meta.json", "rubbish", rubbish, nowhere, ""},
		{"snapshots/*/state.bin", "missing", missing, nowhere, unread},
		{"snapshots/*/state.bin", "empty", empty, nowhere, unread},
		{"snapshots/*/state.bin", "rubbish", rubbish, nowhere, unread},
	} {
		for dir, says := range map[string]string{short: tc.says, long: tc.reaches} {
			t.Run(fmt.Sprint(tc.file, " ", tc.how, ", the log reaches back: ", dir == long), func(t *testing.T) {
				into := filepath.Join(t.TempDir(), "raft")
				if err := os.CopyFS(into, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				paths, err := filepath.Glob(filepath.Join(into, tc.file))
				if err != nil || len(paths) == 0 {
					t.Fatal(paths, err)
				}
				for _, path := range paths {
					if err := tc.damage(path); err != nil {
						t.Fatal(err)
					}
				}
				if says == "" {
					node, _, stop := onDisk(t, into, zerolog.Nop())
					defer stop()
					if v, err := node.View(t.Context()); err != nil || len(v.Datasets()) != want {
						t.Errorf("it begins with %d of %d datasets, %v", len(v.Datasets()), want, err)
					}
					return
				}
				cfg := consensus.DefaultConfig()
				cfg.ID, cfg.Address, cfg.Dir = "coordinator-0", "x:1", into
				_, transport := raft.NewInmemTransport("x:1")
				_, err = consensus.New(cfg, consensus.Deps{State: state.New(), Transport: transport, Forward: nobody{}, Fatal: func(error) {}})
				for _, want := range []string{filepath.Join(into, "raft.db") + " is damaged", says, "remove-peer coordinator-0"} {
					if !strings.Contains(fmt.Sprint(err), want) {
						t.Errorf("%v does not say %q", err, want)
					}
				}
				if says == unread && !strings.Contains(err.Error(), filepath.Dir(paths[len(paths)-1])) {
					t.Errorf("it does not name the snapshot: %v", err)
				}
			})
		}
	}
}
