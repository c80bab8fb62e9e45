package train

import (
	"math"
	"time"
)

// pulse decides how many steps lie between two syncs. Rank 0 measures and proposes, the
// sync makes all ranks take its proposal.
type pulse struct {
	every int64 // steps from the last sync to the next
	last  int64 // step of the last sync
	begin time.Time
}

const (
	pulseAim   = 250 * time.Millisecond // between two syncs
	pulseLimit = 1000                   // steps, so that a sudden slowness is felt
)

// due tells whether the ranks sync after a step.
func (p *pulse) due(step int64) bool { return step >= p.last+p.every }

// propose returns the steps to the next sync that would bring it in pulseAim. It grows at
// most twofold, because the first steps are slower than the rest.
func (p *pulse) propose(step int64, now time.Time) int64 {
	elapsed := now.Sub(p.begin)
	steps := step - p.last
	if elapsed <= 0 || steps <= 0 {
		return 2 * p.every
	}
	fit := math.Round(float64(steps) * float64(pulseAim) / float64(elapsed))
	return int64(max(1, min(fit, float64(2*p.every), pulseLimit)))
}

// beat notes that the ranks have synced.
func (p *pulse) beat(step, every int64, now time.Time) {
	p.last, p.every, p.begin = step, max(1, min(every, pulseLimit)), now
}

// agreement is what the ranks tell each other in a sync.
type agreement struct {
	lossSum, rows float64 // since the last sync
	stops         float64 // ranks that were asked to stop
	every         float64 // steps to the next sync, given by rank 0, 0 by all others
	busy          float64 // ranks that still write their share of a checkpoint
}

func (a agreement) vector() []float64       { return []float64{a.lossSum, a.rows, a.stops, a.every, a.busy} }
func agreementOf(v []float64) (a agreement) { return agreement{v[0], v[1], v[2], v[3], v[4]} }
