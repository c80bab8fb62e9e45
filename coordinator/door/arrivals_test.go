package door

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestArrivals: an address has its burst, then its rate; one that would wait for longer than it may is refused at once; another address
// does not wait for it.
func TestArrivals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := DefaultLimits()
		limits.Handshakes = 10 // 20 at once
		a := NewArrivals(limits)
		begin := time.Now()
		wait := func(from string) error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			return a.Wait(ctx, from)
		}
		for i := range 20 {
			if err := wait(fmt.Sprintf("192.0.2.1:%d", i+1)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("the first twenty waited %v", took)
		}
		for range 10 {
			if err := wait("192.0.2.1:1"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("ten more waited %v, want 1s", took)
		}
		var refused atomic.Int64
		for range 80 {
			go func() {
				if wait("192.0.2.1:1") != nil {
					refused.Add(1)
				}
			}()
		}
		synctest.Wait()
		if refused.Load() != 30 {
			t.Errorf("of 80 at once %d were refused, want those that have no turn within 5s, 30", refused.Load())
		}
		before := time.Now()
		if err := wait("192.0.2.2:1"); err != nil || time.Since(before) != 0 {
			t.Errorf("another address: %v after %v", err, time.Since(before))
		}
		limits.PerAddress = 0
		proxied := NewArrivals(limits)
		for range 1000 {
			if err := proxied.Wait(t.Context(), "192.0.2.3:1"); err != nil || time.Since(before) != 0 {
				t.Fatalf("behind a proxy: %v after %v", err, time.Since(before))
			}
		}
	})
}

// TestArrivalsForget: addresses that come once do not stay for ever.
func TestArrivalsForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewArrivals(DefaultLimits())
		for i := range 3 * keep {
			if err := a.Wait(t.Context(), fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if len(a.from) > keep {
			t.Errorf("%d addresses are kept", len(a.from))
		}
	})
}
