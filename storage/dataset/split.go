package dataset

import (
	"math/rand/v2"
	"slices"
)

// The splits, in the order in which they are kept.
const (
	Train      = "train"
	Validation = "validation"
	Test       = "test"
)

// splitNames is indexed like Ratio.
func splitNames() [3]string { return [3]string{Train, Validation, Test} }

// split parts the rows into training, validation and test. groups holds the class of each
// row (all 0 for regression) below count; every group is parted in the same ratio, and no
// group that has a row misses training. Rows keep their order within a split. The result
// depends on the arguments only: PCG is the same on every machine.
func split(groups []int64, count int, r Ratio, seed uint64) [3][]int {
	members := make([][]int, count)
	for row, g := range groups {
		members[g] = append(members[g], row)
	}
	rng := rand.New(rand.NewPCG(seed, 0x7461_6e64_656d)) // the second word only sets this use apart
	sum := r[0] + r[1] + r[2]
	var out [3][]int
	seen := 0 // rows handed out so far, over all groups
	for _, rows := range members {
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		seen += len(rows)
		// What each split should have by now, less what it has: roundings of one group
		// are made good by the next, so that the totals are exact too.
		train := clamp(seen*r[0]/sum-len(out[0]), 0, len(rows))
		if train == 0 && len(rows) > 0 {
			train = 1
		}
		validation := clamp(seen*(r[0]+r[1])/sum-len(out[0])-len(out[1])-train, 0, len(rows)-train)
		if r[2] == 0 {
			// No test split: the rounding belongs to the others.
			if r[1] == 0 {
				train = len(rows)
			}
			validation = len(rows) - train
		}
		out[0] = append(out[0], rows[:train]...)
		out[1] = append(out[1], rows[train:train+validation]...)
		out[2] = append(out[2], rows[train+validation:]...)
	}
	for i := range out {
		slices.Sort(out[i])
	}
	return out
}

func clamp(n, low, high int) int { return max(low, min(n, high)) }
