package checkpoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// shares parts the tensors of a state over the ranks, about evenly by their bytes, and names
// the result: ranks of which one sees another state or world do not get the same layout. The
// same arguments give the same shares, each in the order of the state.
func shares(names []string, bytes []int64, world int) (of [][]string, layout string) {
	bySize := make([]int, len(names))
	for i := range bySize {
		bySize[i] = i
	}
	slices.SortStableFunc(bySize, func(a, b int) int { return cmp.Compare(bytes[b], bytes[a]) })
	load := make([]int64, world)
	owner := make([]int, len(names))
	for _, i := range bySize {
		least := 0
		for rank := range load {
			if load[rank] < load[least] {
				least = rank
			}
		}
		owner[i] = least
		load[least] += bytes[i]
	}
	of = make([][]string, world)
	h := sha256.New()
	for i, name := range names {
		of[owner[i]] = append(of[owner[i]], name)
		fmt.Fprintf(h, "%d %d %s\n", owner[i], bytes[i], name)
	}
	return of, hex.EncodeToString(h.Sum(nil))
}
