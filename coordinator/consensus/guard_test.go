package consensus_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/coordtest"
)

func isNoLeader(err error) bool { return errors.Is(err, consensus.ErrNoLeader) }

// sickLogs hang or fail from the moment they are told to.
type sickLogs struct {
	raft.LogStore
	mu      sync.Mutex
	hang    chan struct{}
	failure error
}

func (s *sickLogs) StoreLogs(l []*raft.Log) error {
	s.mu.Lock()
	hang, failure := s.hang, s.failure
	s.mu.Unlock()
	if hang != nil {
		<-hang
		return errors.New("the disk was taken away")
	}
	if failure != nil {
		return failure
	}
	return s.LogStore.StoreLogs(l)
}

func (s *sickLogs) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *sickLogs) fallSick(hang chan struct{}, failure error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang, s.failure = hang, failure
}

func TestGuardEndsTheProcess(t *testing.T) {
	for _, kind := range []string{"hang", "failure"} {
		t.Run(kind, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { sickLeader(t, kind) }) })
	}
}

func sickLeader(t *testing.T, kind string) {
	ended := make(chan error, 100)
	c := coordtest.New(t, 3, coordtest.WithFatal(func(_ int, err error) { ended <- err }))
	defer c.Stop()
	disks := make([]*sickLogs, 3)
	for i := range disks {
		disks[i] = &sickLogs{LogStore: c.Stores(i).Logs}
		c.Kill(i)
		c.Stores(i).Logs = disks[i]
	}
	for i := range disks {
		c.Start(i)
	}
	leader := c.Leader()
	release := make(chan struct{})
	if kind == "hang" {
		disks[leader].fallSick(release, nil)
	} else {
		disks[leader].fallSick(nil, errors.New("no space left on device"))
	}
	begin := time.Now()
	var client sync.WaitGroup
	client.Go(func() { // its command meets the sick disk
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = c.Node(leader).Propose(ctx, createJob("first", "1"))
	})
	err := <-ended
	if took := time.Since(begin); took > 1100*time.Millisecond {
		t.Errorf("the process ended after %s", took)
	}
	if !strings.Contains(err.Error(), "disk") {
		t.Errorf("the message does not name the disk: %v", err)
	}
	c.Isolate(leader) // its process is gone
	r, err := c.Node((leader+1)%3).Propose(context.Background(), createJob("second", "2"))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("result %v only after %s", r, took)
	}
	close(release)
	disks[leader].fallSick(nil, nil)
	c.Heal()
	client.Wait()
}

// TestReadsEndWithTheirContext: a leader that cannot write the entry its reads wait for lets go of who asked.
func TestReadsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 1, coordtest.WithFatal(func(int, error) {}))
		defer c.Stop()
		c.Kill(0)
		disk := &sickLogs{LogStore: c.Stores(0).Logs}
		c.Stores(0).Logs = disk
		release := make(chan struct{})
		disk.fallSick(release, nil)
		c.Start(0)
		time.Sleep(5 * time.Second) // virtual: it leads by then
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.AfterFunc(time.Minute, func() {
			disk.fallSick(nil, nil)
			close(release)
		})
		begin := time.Now()
		_, err := c.Node(0).ReadIndexLocal(ctx)
		if took := time.Since(begin); !c.Node(0).IsLeader() || !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("the read ended after %s with %v", took, err)
		}
		<-release
		time.Sleep(time.Second) // virtual: Raft answers the read that was given up, which it does not do once it is shut down
	})
}
