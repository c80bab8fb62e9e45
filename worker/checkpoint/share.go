package checkpoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"tandem.dev/storage/ckpt"
)

// sharding says which tensors of a state are in which shard of a checkpoint, and which shards are whose.
type sharding struct {
	shards [][][]string // names of tensors by rank and shard; a shard's index counts those of the ranks before, too
	id     string       // sha256 of it
}

// lay parts the tensors of a state over the ranks, about evenly by their bytes, and those of each rank into shards of at most
// limit bytes, or of one tensor that has more. The same arguments give the same sharding; ranks of which one sees another state or
// world do not get the same id. A rank's tensors are in the order of the state. It has at least one shard, which is empty if it
// has none. Where a checkpoint would have too many shards, they are larger.
func lay(names []string, bytes []int64, world int, limit int64) sharding {
	of := share(bytes, world)
	for cuts(of, bytes, limit) > max(world, ckpt.MaxShards) {
		limit *= 2
	}
	l := sharding{shards: make([][][]string, world)}
	h := sha256.New()
	fmt.Fprintln(h, world)
	index := 0
	for rank, mine := range of {
		for _, tensors := range cut(mine, bytes, limit) {
			var shard []string
			for _, i := range tensors {
				shard = append(shard, names[i])
				fmt.Fprintf(h, "%d %d %d %s\n", rank, index, bytes[i], names[i])
			}
			l.shards[rank] = append(l.shards[rank], shard)
			index++
		}
	}
	l.id = hex.EncodeToString(h.Sum(nil))
	return l
}

// share returns which tensors are whose: the largest first, each to the rank that has the fewest bytes so far.
func share(bytes []int64, world int) (of [][]int) {
	bySize := make([]int, len(bytes))
	for i := range bySize {
		bySize[i] = i
	}
	slices.SortStableFunc(bySize, func(a, b int) int { return cmp.Compare(bytes[b], bytes[a]) })
	load := make([]int64, world)
	of = make([][]int, world)
	for _, i := range bySize {
		least := 0
		for rank := range load {
			if load[rank] < load[least] {
				least = rank
			}
		}
		of[least] = append(of[least], i)
		load[least] += bytes[i]
	}
	for _, mine := range of {
		slices.Sort(mine)
	}
	return of
}

// cut parts a rank's tensors into shards: a new one begins where the one before would have more than limit bytes.
func cut(mine []int, bytes []int64, limit int64) (shards [][]int) {
	begin, size := 0, int64(0)
	for at, i := range mine {
		if at > begin && size+bytes[i] > limit {
			shards = append(shards, mine[begin:at])
			begin, size = at, 0
		}
		size += bytes[i]
	}
	return append(shards, mine[begin:])
}

// cuts counts the shards of all ranks.
func cuts(of [][]int, bytes []int64, limit int64) (n int) {
	for _, mine := range of {
		n += len(cut(mine, bytes, limit))
	}
	return n
}
