package train

import (
	"context"
	"fmt"
	"time"

	"tandem.dev/storage/metric"
)

// relayEvery is how often the ranks of a group that does no step ask each other what they were told.
const relayEvery = 10 * time.Millisecond

// relay stays in a group that was made only to hand the state on, which joining it has done, until the ranks move on or stop as asked.
func (l *Loop) relay(ctx context.Context) (Outcome, error) {
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	for begins := true; ; begins = false {
		asked, err := l.sync(ctx, 1, false)
		if err != nil {
			return 0, fmt.Errorf("hand the state of step %d on: %w", l.state.Step, err)
		}
		l.Record.Enter(metric.Waiting, l.Now())
		if begins {
			if err := l.formed(ctx); err != nil {
				return 0, err
			}
		}
		switch {
		case asked.stop:
			if err := l.save(ctx, *l.state, true); err != nil {
				return 0, fmt.Errorf("checkpoint at step %d: %w", l.state.Step, err)
			}
			return Stopped, l.awaitCommit(ctx)
		case asked.move:
			return Regrouped, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
