package board

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestProgressAfterAClockWasSet: progress that was overtaken on its way is dropped; that of a machine whose clock was set back is not.
func TestProgressAfterAClockWasSet(t *testing.T) {
	b, now := New(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		at         time.Duration
		step, want int64
	}{
		{0, 1, 1}, {time.Second, 2, 2}, {0, 1, 2}, // overtaken
		{-2 * time.Hour, 3, 3}, {-2*time.Hour + time.Second, 4, 4}, // set back
		{time.Hour, 5, 5},
	} {
		b.Put([]*tandemv1.Progress{{TrialId: "t", Generation: 1, Step: tc.step, Time: timestamppb.New(now.Add(tc.at))}}, false)
		if got := b.Progress("t", 1).GetStep(); got != tc.want {
			t.Errorf("at %v: step %d is shown, want %d", tc.at, got, tc.want)
		}
	}
}
