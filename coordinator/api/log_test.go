package api

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

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
		if err := a.logPause(inDefault(t.Context()), "job-1", time.Time{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 2*time.Minute {
			t.Errorf("the end of the job was heard of after %s", took)
		}
		ended := time.Now()
		if err := a.logPause(inDefault(t.Context()), "job-1", ended); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(ended); took != logGrace {
			t.Errorf("the last look comes %s after the end", took)
		}
	})
}
