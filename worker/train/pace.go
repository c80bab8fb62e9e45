package train

import (
	"math"
	"time"

	"tandem.dev/worker/data"
)

// pace decides how many steps lie between two syncs. Rank 0 measures and proposes, the
// sync makes all ranks take its proposal.
type pace struct {
	every int64 // steps from the last sync to the next
	last  int64 // step of the last sync
	begin time.Time
}

const (
	paceAim   = 250 * time.Millisecond // between two syncs
	paceLimit = 1000                   // steps, so that a sudden slowness is felt
)

// due tells whether the ranks sync after a step.
func (p *pace) due(step int64) bool { return step >= p.last+p.every }

// propose returns the steps to the next sync that would bring it in paceAim. It grows at
// most twofold, because the first steps are slower than the rest.
func (p *pace) propose(step int64, now time.Time) int64 {
	elapsed := now.Sub(p.begin)
	steps := step - p.last
	if elapsed <= 0 || steps <= 0 {
		return 2 * p.every
	}
	fit := math.Round(float64(steps) * float64(paceAim) / float64(elapsed))
	return int64(max(1, min(fit, float64(2*p.every), paceLimit)))
}

// synced notes that the ranks have synced.
func (p *pace) synced(step, every int64, now time.Time) {
	p.last, p.every, p.begin = step, max(1, min(every, paceLimit)), now
}

// agreement is what the ranks tell each other in a sync.
type agreement struct {
	lossSum, rows float64 // since the last sync
	stops, moves  float64 // ranks that were asked to stop, or to go over to another group
	every         float64 // steps to the next sync, given by rank 0, 0 by all others
	busy          float64 // ranks that still write their share of a checkpoint
	// Of each rank, in a place of its own: the time it computed since the last sync, and where states are compared the
	// halves of its fingerprint.
	spent, high, low []float64
}

// add takes what one step gave.
func (a *agreement) add(r StepResult, share data.Piece) {
	a.lossSum += r.LossSum
	a.rows += float64(share.Rows)
	if a.spent == nil {
		a.spent = []float64{0}
	}
	a.spent[0] += (share.Wait + r.Forward + r.Backward).Seconds()
}

// vector is what a rank of world adds to the sum.
func (a agreement) vector(rank, world int) []float64 {
	v := append([]float64{a.lossSum, a.rows, a.stops, a.moves, a.every, a.busy}, make([]float64, 3*world)...)
	for i, own := range [][]float64{a.spent, a.high, a.low} {
		if len(own) > 0 {
			v[6+i*world+rank] = own[0]
		}
	}
	return v
}

func agreementOf(v []float64, world int) agreement {
	own := func(i int) []float64 { return v[6+i*world : 6+(i+1)*world] }
	return agreement{v[0], v[1], v[2], v[3], v[4], v[5], own(0), own(1), own(2)}
}
