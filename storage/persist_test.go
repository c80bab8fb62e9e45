package storage_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"tandem.dev/storage"
)

func TestPersist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		tries, aways := 0, 0
		away := func(error) { aways++ }
		err := storage.Persist(t.Context(), func() error {
			switch tries++; {
			case time.Since(begin) < time.Hour/2:
				return fmt.Errorf("write: %w", storage.ErrUnavailable)
			case time.Since(begin) < time.Hour:
				return fmt.Errorf("write: %w", storage.ErrFull)
			}
			return nil
		}, away)
		if late := time.Since(begin) - time.Hour; err != nil || late < 0 || late > 10*time.Second {
			t.Errorf("an outage of an hour ended %v after it with %v", late, err)
		}
		if tries < 360 || tries > 400 || aways != 1 {
			t.Errorf("%d tries in an hour; told %d times", tries, aways)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin = time.Now()
		err = storage.Persist(ctx, func() error { return storage.ErrUnavailable }, away)
		if !errors.Is(err, storage.ErrUnavailable) || time.Since(begin) != time.Minute {
			t.Errorf("ended after %v with %v", time.Since(begin), err)
		}

		for _, want := range []error{nil, storage.ErrDenied, storage.ErrNotFound} {
			tries = 0
			err := storage.Persist(t.Context(), func() error { tries++; return want }, away)
			if tries != 1 || !errors.Is(err, want) {
				t.Errorf("%v: %v after %d tries", want, err, tries)
			}
		}
	})
}
