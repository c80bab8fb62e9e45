package storage

import (
	"context"
	"time"
)

const (
	firstPause = 500 * time.Millisecond
	maxPause   = 10 * time.Second // an outage that ends is noticed this late
)

// Persist runs act again and again, with growing pauses, while it fails with
// an outage (IsOutage), and returns its other outcomes. When ctx ends it returns the last
// failure. away is called once, before the first pause, to say what is waited for.
func Persist(ctx context.Context, act func() error, away func(error)) error {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := act()
		if !IsOutage(err) || ctx.Err() != nil {
			return err
		}
		if pause == firstPause {
			away(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}
