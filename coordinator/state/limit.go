package state

import (
	"time"

	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// WallOf is for how long the training of a trial may hold slots; 0: there is no limit.
func WallOf(j *tandemv1.Job, t *tandemv1.Trial) time.Duration {
	wall, err := time.ParseDuration(SpecOf(j, t).GetLimits().GetWall())
	if err != nil {
		return 0 // it is checked when a job is submitted; nothing is a limit too
	}
	return wall
}

// TimeHeld is for how long a trial has held slots to train, its present allocation, which may be nil, included.
func TimeHeld(t *tandemv1.Trial, alloc *tandemv1.Allocation, now time.Time) time.Duration {
	held := t.GetHeld().AsDuration()
	if alloc != nil && kind.StageOf(alloc).Grouped {
		held += max(0, now.Sub(alloc.GetCreatedAt().AsTime()))
	}
	return held
}

// WallLeft is for how much longer a trial may hold slots to train, not more than 0 when its time is used up; false: it is not limited, or
// does not train any more.
func WallLeft(j *tandemv1.Job, t *tandemv1.Trial, alloc *tandemv1.Allocation, now time.Time) (time.Duration, bool) {
	wall := WallOf(j, t)
	return wall - TimeHeld(t, alloc, now), wall > 0 && kind.StageOf(t).Grouped
}

// WallUsed says that a trial has used its time up.
func WallUsed(j *tandemv1.Job, t *tandemv1.Trial) *tandemv1.Reason {
	return NewReason(tandemv1.Reason_CODE_WALL_TIME_USED, "wall", WallOf(j, t), "job", j.GetId())
}
