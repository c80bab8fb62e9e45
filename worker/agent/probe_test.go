package agent

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// serveTask is one replica.
func serveTask(replica, model string) *tandemv1.EngineTask {
	return &tandemv1.EngineTask{
		Id: replica, SlotId: "cpu0", Storage: &tandemv1.StorageConfig{Endpoint: "store", Bucket: "b"},
		Task: &tandemv1.EngineTask_Serve{Serve: &tandemv1.ServeTask{ReplicaId: replica, Model: model}},
	}
}

// TestHungReplica: one question left without an answer is forgiven, two in a row are not.
func TestHungReplica(t *testing.T) {
	supervised(t, func(s *supervisor, st *stage) {
		var hangs atomic.Bool
		var asked atomic.Int32
		s.ask = func(ctx context.Context, _ string) error {
			n := asked.Add(1)
			if n%2 == 1 && !hangs.Load() {
				return errors.New("the connection broke")
			}
			if hangs.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		desire(s, 1, []*tandemv1.EngineTask{serveTask("replica-1", "digits")})
		synctest.Wait()
		_, err := s.hello("replica-1")
		must(t, err)
		time.Sleep(30 * time.Second) // virtual
		if asked.Load() != 0 {
			t.Error("a replica that is not ready was asked")
		}
		s.isReady("replica-1")
		time.Sleep(2*time.Minute + time.Second)
		st.check(t, "0s replica-1 started")
		if n := asked.Load(); n != 24 {
			t.Errorf("asked %d times in 2 minutes, want one each 5 s", n)
		}
		hangs.Store(true)
		time.Sleep(20 * time.Second) // 4 s until it is asked, 5 s to answer, 5 s of rest, 5 s to answer
		st.check(t, "2m50s replica-1 killed", "2m50s replica-1 gone")
		reports, err := s.reports.peek(t.Context(), 10)
		must(t, err)
		if last := reports[len(reports)-1]; last.GetEngineId() != "replica-1" || !strings.Contains(last.GetFailed().GetMessage(), "hangs") {
			t.Errorf("reports %v", reports)
		}
	})
}

// TestSilentMember: a member that gives signs of life is left alone however long its steps are; one that is silent for 10 s hangs. Nobody
// else would notice it where it trains alone.
func TestSilentMember(t *testing.T) {
	supervised(t, func(s *supervisor, st *stage) {
		desire(s, 1, []*tandemv1.EngineTask{task("a", 1, 0)})
		synctest.Wait()
		_, err := s.hello("alloc-a1/0")
		must(t, err)
		for range 60 {
			s.heard("alloc-a1/0")
			time.Sleep(time.Second) // virtual
		}
		time.Sleep(6 * time.Second) // a moment of silence
		s.heard("alloc-a1/0")
		st.check(t, "0s alloc-a1/0 started")
		time.Sleep(time.Minute)
		st.check(t, "1m20s alloc-a1/0 killed", "1m20s alloc-a1/0 gone")
		reports, err := s.reports.peek(t.Context(), 10)
		must(t, err)
		if last := reports[len(reports)-1]; last.GetEngineId() != "alloc-a1/0" || !strings.Contains(last.GetFailed().GetMessage(), "hangs") || !last.GetFailed().GetHung() {
			t.Errorf("reports %v", reports)
		}
	})
}

// TestStoppedReplica: a replica whose process stands still is killed, and its coordinator is told.
func TestStoppedReplica(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	c.start(t.TempDir(), func(cfg *Config) { cfg.ProbeInterval = 300 * time.Millisecond })
	c.want(serveTask("replica-1", "hang"))
	c.report("replica-1", "ready", isReady)
	failed := c.report("replica-1", "failure", hasFailed).GetFailed()
	if !strings.Contains(failed.GetMessage(), "hangs") || failed.GetPermanent() || failed.GetNodeStopping() {
		t.Errorf("%v", failed)
	}
}
