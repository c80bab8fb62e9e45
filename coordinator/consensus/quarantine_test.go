package consensus_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/coordtest"
	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// poisonAll appends an entry that nobody can apply to the logs of the first peers, which are stopped, and returns its index and hash.
func poisonAll(t *testing.T, c *coordtest.Cluster, peers int) (uint64, string) {
	t.Helper()
	data, err := proto.Marshal(strange(&tandemv1.Command{Time: &timestamppb.Timestamp{Seconds: 77}, Command: &tandemv1.Command_Expire{Expire: &tandemv1.Expire{}}}))
	if err != nil {
		t.Fatal(err)
	}
	var longest raft.Log
	for i := range peers {
		if last, _ := c.Stores(i).Logs.LastIndex(); last > longest.Index {
			if err := c.Stores(i).Logs.GetLog(last, &longest); err != nil {
				t.Fatal(err)
			}
		}
	}
	entry := raft.Log{Index: longest.Index + 1, Term: longest.Term, Type: raft.LogCommand, Data: data}
	for i := range peers {
		last, _ := c.Stores(i).Logs.LastIndex()
		for ; last < longest.Index; last++ { // a follower may lack the last entries
			var missing raft.Log
			for j := range peers {
				if c.Stores(j).Logs.GetLog(last+1, &missing) == nil {
					break
				}
			}
			if err := c.Stores(i).Logs.StoreLog(&missing); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Stores(i).Logs.StoreLog(&entry); err != nil {
			t.Fatal(err)
		}
	}
	return entry.Index, format.Digest(data)
}

// ended notes with which errors peers ended.
type ended struct {
	mu  sync.Mutex
	err map[int]error
}

func (e *ended) note(i int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err[i] = err
}

func (e *ended) take() map[int]error {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.err
	e.err = map[int]error{}
	return was
}

func snapshotOf(t *testing.T, s *state.State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := format.Write(&b, s.View()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// reachLevel2 has all peers say that they know level 2, and raises the cluster to it.
func reachLevel2(t *testing.T, c *coordtest.Cluster) {
	t.Helper()
	propose(t, c, 0, &tandemv1.Command{Command: &tandemv1.Command_CreateCluster{CreateCluster: &tandemv1.CreateCluster{Cluster: &tandemv1.Cluster{Id: "cluster-1"}}}})
	for i := range c.Len() {
		announce(t, c, i, 2)
	}
	raise(t, c)
}

func announce(t *testing.T, c *coordtest.Cluster, i int, level int32) {
	t.Helper()
	propose(t, c, 0, &tandemv1.Command{Command: &tandemv1.Command_AnnounceProgram{AnnounceProgram: &tandemv1.AnnounceProgram{
		Program: &tandemv1.Program{Id: c.ID(i), Version: "test", Level: level},
	}}})
}

func raise(t *testing.T, c *coordtest.Cluster) {
	t.Helper()
	if res := propose(t, c, 0, &tandemv1.Command{Command: &tandemv1.Command_RaiseLevel{RaiseLevel: &tandemv1.RaiseLevel{Level: 2}}}); res.GetRefusal() != 0 {
		t.Fatal(res)
	}
}

// TestPoisonIsQuarantined: three coordinators and one that was down have an entry in their logs that nobody can apply. All end at
// it, at each start. It is quarantined on each; they go on, agree, and so does one that joins later.
func TestPoisonIsQuarantined(t *testing.T) {
	for name, level := range map[string]int{"level 1": 1, "level 2": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { quarantined(t, level) })
		})
	}
}

func quarantined(t *testing.T, level int) {
	gone := &ended{err: map[int]error{}}
	c := coordtest.New(t, 4, coordtest.WithSpare(1), coordtest.WithFatal(gone.note))
	defer c.Stop()
	createDataset(t, c)
	if level == 2 {
		reachLevel2(t, c)
	}
	c.Stop()
	index, hash := poisonAll(t, c, 3)
	for range 2 { // at each start
		for i := range 3 {
			c.Start(i)
		}
		waitUntil(t, func() bool { gone.mu.Lock(); defer gone.mu.Unlock(); return len(gone.err) == 3 })
		for i, err := range gone.take() {
			poison := (*fsm.Poison)(nil)
			if !errors.As(err, &poison) || poison.Index != index || poison.SHA256 != hash {
				t.Errorf("coordinator %d ended with %v", i, err)
			}
		}
		c.Stop()
	}
	keep := func(data []byte) error {
		if format.Digest(data) != hash {
			t.Errorf("other bytes are kept than those of the entry")
		}
		return nil
	}
	for i := range 3 {
		good, goodHash := lastCommand(t, c.Stores(i), index)
		for want, err := range map[string]error{
			"can be applied":         consensus.QuarantineIn(c.Stores(i), good, goodHash, keep),
			"has the SHA-256":        consensus.QuarantineIn(c.Stores(i), index, strings.Repeat("0", 64), keep),
			"names the index":        consensus.QuarantineIn(c.Stores(i), index+100, hash, keep),
			"belongs to Raft itself": consensus.QuarantineIn(c.Stores(i), 1, hash, keep),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("coordinator %d: %v, want one with %q", i, err, want)
			}
		}
		for range 2 { // again is not an error
			if err := consensus.QuarantineIn(c.Stores(i), index, hash, keep); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 4 {
		c.Start(i)
	}
	propose(t, c, c.Leader(), createJob("after", "9"))
	leader := c.Leader()
	if err := c.Node(leader).AddLearner(context.Background(), c.ID(3), "peer-3"); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return c.State(3).Index() == c.State(leader).Index() })
	c.WaitApplied()
	want := snapshotOf(t, c.State(leader))
	for i := range 4 {
		if !bytes.Equal(snapshotOf(t, c.State(i)), want) {
			t.Errorf("coordinator %d has another state", i)
		}
	}
	v := c.State(leader).View()
	rows, events := v.Quarantined(), v.Events(0)
	if level == 1 && len(rows) != 0 {
		t.Errorf("rows of level 2 at level 1: %v", rows)
	}
	if level == 2 && (len(rows) != 1 || rows[0].GetIndex() != index || rows[0].GetSha256() != hash || rows[0].GetTime().GetSeconds() != 77) {
		t.Errorf("quarantined entries: %v", rows)
	}
	noted := 0
	for _, e := range events {
		if e.GetType() == tandemv1.Event_TYPE_ENTRY_QUARANTINED && e.GetArgs()["sha256"] == hash {
			noted++
		}
	}
	if noted != level-1 {
		t.Errorf("%d events about the entry, want %d", noted, level-1)
	}
	if len(gone.take()) > 0 {
		t.Error("a coordinator ended after the entry was quarantined")
	}
}

// lastCommand finds the last command before an entry.
func lastCommand(t *testing.T, stores *consensus.Stores, before uint64) (uint64, string) {
	t.Helper()
	var entry raft.Log
	for index := before - 1; ; index-- {
		if err := stores.Logs.GetLog(index, &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Type == raft.LogCommand {
			return index, format.Digest(entry.Data)
		}
	}
}

func waitUntil(t *testing.T, done func() bool) {
	t.Helper()
	for range 600 {
		if done() {
			return
		}
		time.Sleep(100 * time.Millisecond) // of the bubble
	}
	t.Fatal("not within a minute")
}
