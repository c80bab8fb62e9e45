package checkpoint

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tandem.dev/storage/ckpt"
)

// Whatever the state and the ranks: each tensor is in one shard, those of a rank in the order of the state; a shard that has too
// many bytes is a single tensor.
func TestLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.SampledFrom([]int64{1 << 10, shardBytes / 3, shardBytes, 4 * shardBytes}).Draw(t, "most")
		bytes := rapid.SliceOfN(rapid.Int64Range(0, most), 0, 200).Draw(t, "bytes")
		world := rapid.IntRange(1, 20).Draw(t, "world")
		var names []string
		size, place := map[string]int64{}, map[string]int{}
		for i, n := range bytes {
			name := fmt.Sprintf("tensor-%d", i)
			names = append(names, name)
			size[name], place[name] = n, i
		}
		l := lay(names, bytes, world, shardBytes)
		if again := lay(names, bytes, world, shardBytes); again.id != l.id {
			t.Error("the same state has two layouts")
		}
		var got []string
		for rank, shards := range l.shards {
			if len(shards) == 0 {
				t.Errorf("rank %d has no shard", rank)
			}
			mine := slices.Concat(shards...)
			got = append(got, mine...)
			if !slices.IsSortedFunc(mine, func(a, b string) int { return place[a] - place[b] }) {
				t.Errorf("rank %d has the order %v", rank, mine)
			}
		}
		slices.SortFunc(got, func(a, b string) int { return place[a] - place[b] })
		if !slices.Equal(got, names) {
			t.Errorf("%d tensors are in shards, there are %d", len(got), len(names))
		}
		for _, shard := range slices.Concat(l.shards...) {
			sum := int64(0)
			for _, name := range shard {
				sum += size[name]
			}
			if sum > shardBytes && len(shard) > 1 {
				t.Errorf("a shard of %d tensors has %d bytes", len(shard), sum)
			}
		}
	})
}

func TestShardBytesByDefault(t *testing.T) {
	if got := New(Config{}, Deps{}).ShardBytes; got != 64<<20 {
		t.Errorf("a shard has %d bytes, unless it is said how many", got)
	}
}

// Of more tensors than a checkpoint may have shards, each as large as one may be, several are in one.
func TestLayoutOfManyLargeTensors(t *testing.T) {
	names, bytes := make([]string, 3*ckpt.MaxShards), make([]int64, 3*ckpt.MaxShards)
	for i := range names {
		names[i], bytes[i] = fmt.Sprint(i), shardBytes
	}
	for _, world := range []int{1, 7, ckpt.MaxShards} {
		shards := slices.Concat(lay(names, bytes, world, shardBytes).shards...)
		if n := len(slices.Concat(shards...)); n != len(names) || len(shards) > ckpt.MaxShards || len(shards) < ckpt.MaxShards/2 {
			t.Errorf("%d tensors of %d are in %d shards of %d ranks", n, len(names), len(shards), world)
		}
	}
}

func TestLayoutIsOfStateAndWorld(t *testing.T) {
	seen := map[string]string{}
	for what, l := range map[string]sharding{
		"two tensors":   lay([]string{"a", "b"}, []int64{1, 2}, 2, shardBytes),
		"a third":       lay([]string{"a", "b", "c"}, []int64{1, 2, 0}, 2, shardBytes),
		"another order": lay([]string{"b", "a"}, []int64{1, 2}, 2, shardBytes),
		"another size":  lay([]string{"a", "b"}, []int64{1, 3}, 2, shardBytes),
		"another world": lay([]string{"a", "b"}, []int64{1, 2}, 1, shardBytes),
		"one tensor":    lay([]string{"a"}, []int64{1}, 1, shardBytes),
		"an idle rank":  lay([]string{"a"}, []int64{1}, 2, shardBytes),
	} {
		if other, twice := seen[l.id]; twice {
			t.Errorf("%s and %s have the same layout", what, other)
		}
		seen[l.id] = what
	}
}
