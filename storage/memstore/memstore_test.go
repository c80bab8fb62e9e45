package memstore

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem.dev/storage"
	"tandem.dev/storage/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Suite{
		New:   func(*testing.T) storage.Store { return New(Config{}) },
		Large: 1 << 20,
	})
}

var errPlanned = errors.New("planned")

func TestFailNth(t *testing.T) {
	s := New(Config{Hook: FailNth(2, errPlanned)})
	for i, want := range []error{nil, errPlanned, nil} {
		if err := s.PutIfAbsent(t.Context(), "k"+string(rune('0'+i)), nil); !errors.Is(err, want) {
			t.Errorf("operation %d: %v, want %v", i+1, err, want)
		}
	}
	if got := s.Keys(); len(got) != 2 || s.Ops() != 3 {
		t.Errorf("keys %v after %d operations", got, s.Ops())
	}
}

func TestTornAndLost(t *testing.T) {
	fault := Fault{Torn: 3}
	s := New(Config{Hook: func(context.Context, Op) Fault { return fault }})
	if err := s.Put(t.Context(), "torn", strings.NewReader("abcdef"), 6); err != nil {
		t.Fatal(err)
	}
	fault = Fault{Err: errPlanned, TakeEffect: true}
	if err := s.PutIfAbsent(t.Context(), "lost", []byte("abc")); !errors.Is(err, errPlanned) {
		t.Fatal(err)
	}
	for _, key := range []string{"torn", "lost"} {
		if b, err := s.Bytes(key); err != nil || string(b) != "abc" {
			t.Errorf("%s: %q, %v", key, b, err)
		}
	}
	fault = Fault{}
	if err := s.PutIfAbsent(t.Context(), "lost", []byte("abc")); err != nil {
		t.Errorf("asking again after a lost answer: %v", err)
	}
}

func TestFlip(t *testing.T) {
	s := New(Config{})
	s.Overwrite("k", []byte{0, 0})
	if err := s.Flip("k", 9); err != nil {
		t.Fatal(err)
	}
	if b, _ := s.Bytes("k"); !bytes.Equal(b, []byte{0, 2}) {
		t.Errorf("%v", b)
	}
	if err := s.Flip("k", 16); err == nil {
		t.Error("a bit outside was flipped")
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Hook: func(ctx context.Context, _ Op) Fault {
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
			}
			return Fault{}
		}})
		start := time.Now()
		if err := s.PutIfAbsent(t.Context(), "k", nil); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Head(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("deadline: %v", err)
		}
	})
}
