package door

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func testLimits() Limits {
	l := DefaultLimits()
	l.Rate, l.Burst, l.Calls, l.Wait, l.Streams, l.Held, l.HeldAll, l.Strangers = 10, 5, 2, time.Second, 3, 100, 150, 1
	return l
}

func enter(t *testing.T, c *Callers, key string, kind Kind) *Visit {
	t.Helper()
	v, err := c.Enter(t.Context(), key, false, kind)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func isBusy(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, ErrBusy) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCallers(testLimits())
		for range 5 {
			enter(t, c, "a", Call).Leave()
		}
		_, err := c.Enter(t.Context(), "a", false, Call)
		isBusy(t, "the sixth at once", err)
		enter(t, c, "b", Call).Leave() // another one has a budget of its own
		time.Sleep(100 * time.Millisecond)
		enter(t, c, "a", Call).Leave()
		for i := range 20 {
			if _, err := c.Enter(t.Context(), "n", true, Call); err != nil {
				if i < 3 { // all that a node does stays open here
					t.Errorf("call %d of a node: %v", i, err)
				}
				break
			}
		}
		for range 10 {
			if err := c.Stranger("192.0.2.1"); err != nil {
				t.Error(err)
			}
		}
		isBusy(t, "an unknown token too many", c.Stranger("192.0.2.1"))
		if err := c.Stranger("192.0.2.2"); err != nil {
			t.Error(err)
		}
	})
}

// TestCallsWaitForTheirTurn: beyond those that are served at once a call waits, and is turned away after the wait.
func TestCallsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCallers(testLimits())
		first, second := enter(t, c, "a", Call), enter(t, c, "a", Call)
		defer second.Leave()
		begin := time.Now()
		_, err := c.Enter(t.Context(), "a", false, Call)
		if isBusy(t, "the third", err); time.Since(begin) != time.Second {
			t.Errorf("it waited %s", time.Since(begin))
		}
		time.AfterFunc(500*time.Millisecond, first.Leave)
		enter(t, c, "a", Call).Leave()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		third := enter(t, c, "a", Call)
		defer third.Leave()
		_, err = c.Enter(ctx, "a", false, Call)
		isBusy(t, "a caller that is gone", err)
	})
}

func TestStreams(t *testing.T) {
	c := NewCallers(testLimits())
	v := enter(t, c, "a", Stream)
	enter(t, c, "a", Stream)
	enter(t, c, "a", Stream)
	_, err := c.Enter(t.Context(), "a", false, Stream)
	isBusy(t, "the fourth", err)
	v.Leave()
	enter(t, c, "a", Stream)
}

func TestHeld(t *testing.T) {
	c := NewCallers(testLimits())
	a, b := enter(t, c, "a", Call), enter(t, c, "b", Call)
	if err := errors.Join(a.Hold(60), a.Hold(40), b.Hold(50)); err != nil {
		t.Error(err)
	}
	isBusy(t, "more than one may", a.Hold(1))
	isBusy(t, "more than all may", b.Hold(1))
	a.Leave()
	if got := c.Held(); got != 51 {
		t.Errorf("%d bytes are held", got)
	}
	if err := b.Hold(40); err != nil {
		t.Error(err)
	}
	b.Leave()
	if got := c.Held(); got != 0 {
		t.Errorf("%d bytes are held", got)
	}
}

// TestLargeAnswersAreWork: who gets many large answers has to wait for the next, also those that wait already; others do not.
func TestLargeAnswersAreWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := DefaultLimits()
		limits.Calls = 1
		c := NewCallers(limits)
		first := enter(t, c, "a", Call)
		second := make(chan error, 1)
		go func() {
			_, err := c.Enter(t.Context(), "a", false, Call) // it waits for the first
			second <- err
		}()
		synctest.Wait()
		for range 3 * limits.Burst / 50 {
			if err := first.Answer(AnswerFree - 1); err != nil {
				t.Fatal(err)
			}
		}
		for range 51 * limits.Burst / 1000 { // 20 calls each
			if err := first.Answer(160 << 10); err != nil && !errors.Is(err, ErrBusy) { // they are held too
				t.Fatal(err)
			}
		}
		first.Leave()
		isBusy(t, "the second", <-second)
		enter(t, c, "b", Call).Leave()
		time.Sleep(time.Second)
		enter(t, c, "a", Call).Leave()
	})
}

// TestLines: lines of logs of a caller wait for their turn, those of another do not.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCallers(DefaultLimits())
		a, b := enter(t, c, "a", Stream), enter(t, c, "b", Stream)
		begin := time.Now()
		for range 3 * LogLines {
			if err := a.Line(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took < 1900*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("three seconds' lines took %v, want 2 s beside what is free", took)
		}
		begin = time.Now()
		if err := b.Line(t.Context()); err != nil || time.Since(begin) > 0 {
			t.Errorf("another waits for %v, %v", time.Since(begin), err)
		}
	})
}

// TestCallersAreForgotten: addresses that come and go leave nothing.
func TestCallersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCallers(testLimits())
		open := enter(t, c, "a", Stream)
		for i := range 3 * keep {
			_ = c.Stranger(string(rune(i)))
			if i%keep == 0 {
				time.Sleep(time.Minute)
			}
		}
		if n := len(c.callers); n > keep+1 {
			t.Errorf("%d callers are kept", n)
		}
		if c.callers["a"] != open.who {
			t.Error("a caller with an open stream was forgotten")
		}
	})
}

// TestUnpack: what a call unpacks counts as calls, of its caller alone.
func TestUnpack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := DefaultLimits()
		limits.Rate, limits.Burst = 10, 100
		c := NewCallers(limits)
		enter := func(key string) *Visit {
			t.Helper()
			v, err := c.Enter(t.Context(), key, false, Call)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(v.Leave)
			return v
		}
		a, b := enter("a"), enter("b")
		for range 99 * 64 { // a KiB at a time, as many as the calls that are left
			if err := a.Unpack(1 << 10); err != nil {
				t.Fatal(err)
			}
		}
		isBusy(t, "all of the burst is unpacked", a.Unpack(unpackedCall))
		if err := errors.Join(b.Unpack(50*unpackedCall), (*Visit)(nil).Unpack(1<<40)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := a.Unpack(10 * unpackedCall); err != nil {
			t.Error("a second later:", err)
		}
	})
}

// TestWork: a call that is worth many uses up as many.
func TestWork(t *testing.T) {
	l := DefaultLimits()
	l.Rate, l.Burst = 0.001, 100
	c := NewCallers(l)
	passed := 0
	for range 10 {
		v, err := c.Enter(t.Context(), "token", false, Call)
		if err != nil {
			break
		}
		if v.Work(30) == nil {
			passed++
		}
		v.Leave()
	}
	if passed != 3 {
		t.Errorf("%d of the calls passed", passed)
	}
}
