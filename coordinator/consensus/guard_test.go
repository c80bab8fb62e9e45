package consensus_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/coordtest"
	tandemv1 "tandem.dev/proto/tandem/v1"
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
		s.mu.Lock()
		failure = s.failure
		s.mu.Unlock()
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
	disks[leader].fallSick(nil, errors.New("the disk was taken away"))
	close(release)
	disks[leader].fallSick(nil, nil)
	c.Heal()
	client.Wait()
}

// TestFollowerWaitsForItsDisk: a follower whose disk hangs ends nothing. The others go on, and it follows when its disk works again.
func TestFollowerWaitsForItsDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 3, coordtest.WithFatal(func(i int, err error) { t.Errorf("coordinator %d ends: %v", i, err) }))
		defer c.Stop()
		follower := (c.Leader() + 1) % 3
		disk := &sickLogs{LogStore: c.Stores(follower).Logs}
		c.Kill(follower)
		c.Stores(follower).Logs = disk
		c.Start(follower)
		leader := c.Leader()
		release := make(chan struct{})
		disk.fallSick(release, nil)
		begin := time.Now()
		if _, err := c.Node(leader).Propose(t.Context(), createData("1")); err != nil || time.Since(begin) > time.Second {
			t.Errorf("proposed with %v after %v", err, time.Since(begin))
		}
		time.Sleep(20 * time.Second) // virtual
		if err := c.Node(follower).Disk(); !errors.Is(err, consensus.ErrDisk) {
			t.Errorf("the disk of the follower is %v", err)
		}
		if c.Leader() != leader {
			t.Error("another leads")
		}
		disk.fallSick(nil, nil)
		close(release)
		time.Sleep(20 * time.Second) // virtual
		if err := c.Node(follower).Disk(); err != nil || len(c.State(follower).View().Datasets()) != 1 {
			t.Errorf("after it healed: %v, %d datasets", err, len(c.State(follower).View().Datasets()))
		}
	})
}

// TestStarvedIsNotHung: a process that seldom gets the processor does not take that for a fault of its disk.
func TestStarvedIsNotHung(t *testing.T) {
	for _, tc := range []struct {
		pause time.Duration // by which each turn is late
		took  time.Duration // of the write
		want  bool
	}{
		{0, 999 * time.Millisecond, false},
		{0, 1001 * time.Millisecond, true},
		{3 * time.Second, 50 * time.Second, false},
		{3 * time.Second, 62 * time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			done := make(chan struct{})
			time.AfterFunc(tc.took, func() { close(done) })
			late := func(d time.Duration) <-chan time.Time { return time.After(d + tc.pause) }
			if got := consensus.Hangs(done, time.Second, late); got != tc.want {
				t.Errorf("a write of %v with turns %v late hangs: %t", tc.took, tc.pause, got)
			}
			<-done
		})
	}
}

func createData(id string) *tandemv1.Command {
	return &tandemv1.Command{RequestId: id, Actor: "client", Command: &tandemv1.Command_CreateDataset{CreateDataset: &tandemv1.CreateDataset{
		Dataset: &tandemv1.Dataset{Id: "data-" + id, Name: "digits", Prefix: "p"},
	}}}
}

// TestGuardWaitsAlone: a coordinator without which the others have no majority does not end for a disk that hangs or is full: it goes on
// when the disk does, with what was asked of it meanwhile.
func TestGuardWaitsAlone(t *testing.T) {
	for _, size := range []int{1, 2} {
		for _, kind := range []string{"hangs", "full"} {
			synctest.Test(t, func(t *testing.T) {
				c := coordtest.New(t, size, coordtest.WithFatal(func(_ int, err error) { t.Errorf("%d coordinators, %s: one ends: %v", size, kind, err) }))
				defer c.Stop()
				disks := make([]*sickLogs, size)
				for i := range disks {
					disks[i] = &sickLogs{LogStore: c.Stores(i).Logs}
					c.Kill(i)
					c.Stores(i).Logs = disks[i]
				}
				for i := range disks {
					c.Start(i)
				}
				leader := c.Leader()
				disk := disks[leader]
				release := make(chan struct{})
				if kind == "hangs" {
					disk.fallSick(release, nil)
				} else {
					disk.fallSick(nil, &fs.PathError{Op: "write", Path: "raft.db", Err: syscall.ENOSPC})
				}
				time.AfterFunc(20*time.Second, func() {
					disk.fallSick(nil, nil)
					close(release)
				})
				if err := c.Node(leader).Disk(); err != nil {
					t.Errorf("%d coordinators, %s: before anything is written its disk is %v", size, kind, err)
				}
				if _, err := c.Node(leader).Propose(t.Context(), createData("1")); !errors.Is(err, consensus.ErrUncertain) || !errors.Is(err, consensus.ErrDisk) {
					t.Errorf("%d coordinators, %s: proposed with %v, want that it is uncertain, and why", size, kind, err)
				}
				begin := time.Now()
				if _, err := c.Node(leader).Propose(t.Context(), createData("3")); !errors.Is(err, consensus.ErrDisk) || errors.Is(err, consensus.ErrUncertain) {
					t.Errorf("%d coordinators, %s: what is asked for next is not proposed, but: %v", size, kind, err)
				}
				v, err := c.Node(leader).View(t.Context())
				if size == 1 && (err != nil || len(v.Datasets()) != 0) || size == 2 && !errors.Is(err, consensus.ErrDisk) {
					t.Errorf("%d coordinators, %s: read with %v", size, kind, err)
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("%d coordinators, %s: it took %v to say so", size, kind, took)
				}
				time.Sleep(20 * time.Second) // virtual
				if _, err := c.Node(leader).Propose(t.Context(), createData("2")); err != nil {
					t.Errorf("%d coordinators, %s: after it healed: %v", size, kind, err)
				}
				if err := c.Node(leader).Disk(); err != nil {
					t.Errorf("%d coordinators, %s: after it healed: %v", size, kind, err)
				}
				if n := len(c.State(leader).View().Datasets()); n != 2 {
					t.Errorf("%d coordinators, %s: %d datasets, want what was asked meanwhile too", size, kind, n)
				}
			})
		}
	}
}

// TestFullDiskAtTheEnd: a coordinator that waits for room ends when it is told to.
func TestFullDiskAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 100)
		c := coordtest.New(t, 1, coordtest.WithFatal(func(_ int, err error) { ended <- err }))
		c.Kill(0)
		disk := &sickLogs{LogStore: c.Stores(0).Logs}
		c.Stores(0).Logs = disk
		c.Start(0)
		c.Leader()
		disk.fallSick(nil, syscall.ENOSPC)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _ = c.Node(0).Propose(ctx, createJob("first", "1")) // it meets the full disk
		begin := time.Now()
		c.Stop()
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("it stopped after %v", took)
		}
		if err := <-ended; !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the cluster stands without it") {
			t.Errorf("it says %v", err)
		}
	})
}

// TestReadsEndWithTheirContext: a leader that cannot write the entry its reads wait for lets go of who asked.
func TestReadsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 1, coordtest.WithFatal(func(int, error) {}), coordtest.WithConfig(func(c *consensus.Config) { c.DiskTimeout = time.Hour }))
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
			disk.fallSick(nil, errors.New("the disk was taken away"))
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
