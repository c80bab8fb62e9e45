package elastic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// script is a Work that does as it is told, one answer for each call, and a Reporter. It writes down what is called.
type script struct {
	mu      sync.Mutex
	calls   []string
	joins   []error
	trains  []func(ctx context.Context, s *script) (Outcome, error)
	step    int64
	aborted chan struct{}
	moved   chan struct{}
}

func (s *script) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
}

func (s *script) Prepare(context.Context) error { s.note("prepare"); return nil }

func (s *script) Join(_ context.Context, g Group) (int64, error) {
	s.note("join %d", g.Generation)
	err := s.joins[0]
	s.joins = s.joins[1:]
	return s.step, err
}

func (s *script) Train(ctx context.Context) (Outcome, error) {
	s.note("train")
	next := s.trains[0]
	s.trains = s.trains[1:]
	return next(ctx, s)
}

func (s *script) Leave()           { s.note("leave") }
func (s *script) Step() int64      { return s.step }
func (s *script) Abort(why string) { s.note("abort: %s", why); close(s.aborted) }
func (s *script) Move()            { s.note("move"); close(s.moved) }
func (s *script) Stop()            { s.note("stop") }

func (s *script) Ready(context.Context) error { s.note("ready"); return nil }
func (s *script) Broken(_ context.Context, b ReportBroken) error {
	s.note("broken %d at %d, hung %v", b.Generation, b.Step, b.Hung)
	return nil
}

func TestDriverGoesFromGroupToGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{aborted: make(chan struct{}), moved: make(chan struct{}), joins: []error{nil, nil, fmt.Errorf("no answer: %w", ErrBroken), nil}}
		d := NewDriver(Deps{Work: s, Reporter: s, Log: zerolog.Nop()})
		group := func(generation int64, planned bool) Orders {
			return Orders{Group: Group{Generation: generation, World: 2, Planned: planned}}
		}
		s.trains = []func(context.Context, *script) (Outcome, error){
			func(context.Context, *script) (Outcome, error) { // waits in a collective until it is aborted
				<-s.aborted
				s.step = 7
				return 0, errors.New("the socket is closed")
			},
			func(context.Context, *script) (Outcome, error) {
				<-s.moved
				s.step = 9
				return Regrouped, nil
			},
			func(context.Context, *script) (Outcome, error) { s.step = 20; return Finished, nil },
		}
		type result struct {
			end End
			err error
		}
		done := make(chan result)
		go func() {
			end, err := d.Run(t.Context())
			done <- result{end, err}
		}()
		synctest.Wait()
		d.Order(group(1, false))
		synctest.Wait()
		broken := group(1, false)
		broken.Broken = true
		d.Order(broken)
		synctest.Wait()
		d.Order(group(2, false))
		synctest.Wait()
		d.Order(group(3, true))
		synctest.Wait()
		d.Order(group(4, false))
		got := <-done
		if got.err != nil || got.end != (End{20, false}) {
			t.Errorf("ended with %+v, %v", got.end, got.err)
		}
		want := []string{
			"prepare", "ready", "join 1", "train", "abort: the group does not work any more", "leave", "broken 1 at 7, hung false",
			"join 2", "train", "move", "leave", "join 3", "leave", "broken 3 at 9, hung false",
			"join 4", "train", "leave",
		}
		if diff := cmp.Diff(want, s.calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

func TestDriverEndsWithErrorsOfAnotherKind(t *testing.T) {
	s := &script{joins: []error{nil}}
	wrong := errors.New("the data are wrong")
	s.trains = []func(context.Context, *script) (Outcome, error){
		func(context.Context, *script) (Outcome, error) { return 0, wrong },
	}
	d := NewDriver(Deps{Work: s, Reporter: s, Log: zerolog.Nop()})
	d.Order(Orders{Group: Group{Generation: 1, World: 1}})
	if _, err := d.Run(t.Context()); !errors.Is(err, wrong) {
		t.Errorf("ended with %v", err)
	}
	if slices.ContainsFunc(s.calls, func(c string) bool { return c == "broken 1 at 0, hung false" }) {
		t.Errorf("it is reported as a broken group: %v", s.calls)
	}
}

func TestDriverEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &script{}
	if _, err := NewDriver(Deps{Work: s, Reporter: s, Log: zerolog.Nop()}).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
