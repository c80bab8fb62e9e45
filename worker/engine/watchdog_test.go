package engine

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/train"
)

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := &watchdog{limit: time.Minute}
		var told error
		at := time.Now()
		go w.run(ctx, func(err error) { told, at = err, time.Now() })
		nap := func(d time.Duration) func() error { return func() error { time.Sleep(d); return nil } }
		for range 5 { // many calls together are longer than the limit
			if err := w.call("a step", nap(50*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour) // nothing is called
		synctest.Wait()
		if told != nil {
			t.Fatalf("told %v", told)
		}
		begun := time.Now()
		_ = w.call("a step", nap(5*time.Minute))
		synctest.Wait()
		if told == nil || !train.IsPermanent(told) || !strings.Contains(told.Error(), "a step within 1m0s (limits.step)") {
			t.Errorf("told %v", told)
		}
		if after := at.Sub(begun); after < time.Minute || after > time.Minute+2*time.Second {
			t.Errorf("told after %v", after)
		}
	})
}

func TestLimitOf(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 30 * time.Minute, "90s": 90 * time.Second, "2h": 2 * time.Hour} {
		if got := limitOf(&tandemv1.JobSpec{Limits: &tandemv1.LimitsSpec{Step: text}}); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := limitOf(nil); got != 30*time.Minute {
		t.Errorf("no spec: %v", got)
	}
}
