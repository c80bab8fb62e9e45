package api

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneModelFileAtATime: whoever asks for many looks does not keep others from theirs.
func TestOneModelFileAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := newModelFiles()
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		under, most := 0, 0
		var waited time.Duration
		look := func(token string) {
			begin := time.Now()
			leave, err := f.enter(t.Context(), token)
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			mu.Lock()
			under++
			most = max(most, under)
			if token == "ann" {
				waited = time.Since(begin)
			}
			mu.Unlock()
			time.Sleep(time.Second) // virtual
			mu.Lock()
			under--
			mu.Unlock()
		}
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() { look("mallory") })
		}
		synctest.Wait()
		all.Go(func() { look("ann") })
		all.Wait()
		if most != 1 || waited > 2*time.Second {
			t.Errorf("%d at a time; the other one waited %v", most, waited)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		leave, err := f.enter(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.enter(ended, "bob"); err == nil {
			t.Error("a call that was given up still waits")
		}
		leave()
		if leave, err = f.enter(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		leave()
	})
}
