package search

import "math"

// rng is splitmix64 (Steele, Lea and Flood 2014). It is our own because what it gives must be the same in every build: a search is
// rebuilt from its events, perhaps by a newer program.
type rng struct{ state uint64 }

// newRNG is a source of its own for each list of keys, such as (seed, purpose, trial).
func newRNG(keys ...uint64) *rng {
	r := &rng{}
	for _, k := range keys {
		r.state ^= k
		r.state = r.next()
	}
	return r
}

func (r *rng) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// float is uniform in [0, 1).
func (r *rng) float() float64 { return float64(r.next()>>11) / (1 << 53) }

// intn is uniform in 0..n-1.
func (r *rng) intn(n int) int { return int(r.float() * float64(n)) }

// normalIn is of the normal distribution with that mean and deviation, given that it lies in [0, 1].
func (r *rng) normalIn(mean, deviation float64) float64 {
	low, high := normalCDF((0-mean)/deviation), normalCDF((1-mean)/deviation)
	x := mean + deviation*math.Sqrt2*math.Erfinv(2*(low+r.float()*(high-low))-1)
	return min(max(x, 0), 1)
}

func normalCDF(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// What randomness is for: each purpose has its own stream.
const (
	forPoint uint64 = iota + 1
	forShift
	forModel
	forPopulation
)
