package fsm

import (
	"time"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// UploadLimit is a time that no upload takes, even when it waits for a store that is away: what was to end so long ago writes no more.
const UploadLimit = 24 * time.Hour

// throwAway notes that nobody owns the objects below a prefix of the store any more, which ends in a slash.
func (a *applier) throwAway(prefix string) {
	a.Put(&tandemv1.Garbage{Id: prefix, CreatedAt: a.now})
}

// emptyGarbage notes that objects were deleted. Until no upload can be under way any more the row stays, so that it is done once more.
func (a *applier) emptyGarbage(c *tandemv1.EmptyGarbage) (*tandemv1.Result, *refusal) {
	for _, prefix := range c.GetPrefixes() {
		g, ok := a.GarbageAt(prefix)
		switch {
		case !ok:
		case a.now.AsTime().Sub(g.GetCreatedAt().AsTime()) >= UploadLimit:
			a.Delete(g)
		case !g.GetEmptied():
			edit(a, a.GarbageAt, prefix, func(g *tandemv1.Garbage) { g.Emptied = true })
		}
	}
	return done(""), nil
}

// nextNumber is the number of the next version of a noun ("model", "dataset") by its name, of which this is the newest there is.
func (a sight) nextNumber(noun, name string, newest int64) int64 {
	return max(newest, a.LastNumber(noun, name)) + 1
}

// useUp keeps a number of a version that is deleted from being given again.
func (a *applier) useUp(noun, name string, number int64) {
	if number > a.LastNumber(noun, name) {
		a.Put(&tandemv1.Numbering{Id: state.NumberingID(noun, name), Last: number})
	}
}
