package data

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
)

// Permutation returns the order in which the rows 0..n-1 of an epoch are used.
//
// The algorithm is part of the checkpoint's meaning and must never change: a PCG generator
// (math/rand/v2, whose stream Go promises to keep) seeded with (seed, epoch) drives a
// Fisher-Yates shuffle from the last place down; place i is swapped with the place that is
// the high word of the 128-bit product of the next 64 random bits and i+1.
func Permutation(seed, epoch int64, n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(i)
	}
	source := rand.NewPCG(uint64(seed), uint64(epoch))
	for i := n - 1; i > 0; i-- {
		j, _ := bits.Mul64(source.Uint64(), uint64(i+1))
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// Share returns the rows [lo, hi) of a batch of n rows that belong to a rank of world ranks.
// Shares are contiguous, differ by at most one row, and may be empty when n < world.
func Share(n, rank, world int) (lo, hi int) {
	return int(int64(n) * int64(rank) / int64(world)), int(int64(n) * int64(rank+1) / int64(world))
}

// Cursor is the place in the data where the next step begins.
type Cursor struct {
	Epoch    int64 // passes over the data done
	Position int64 // rows of this epoch used, less than the rows of the split
}

// Epochs returns the passes done over a split of rows rows, whole and part.
func (c Cursor) Epochs(rows int64) float64 {
	return float64(c.Epoch) + float64(c.Position)/float64(rows)
}

// Order is the sequence of global batches of a training. It keeps the permutation of the
// epoch it was last asked for; it is not safe for concurrent use.
type Order struct {
	rows, batch int
	seed        int64

	epoch int64
	perm  []int32
}

// NewOrder returns the order of batches of batch rows over a split of rows rows. The last
// batch of an epoch has what is left.
func NewOrder(rows, batch int, seed int64) (*Order, error) {
	if rows < 1 || batch < 1 || batch > rows {
		return nil, fmt.Errorf("a batch of %d rows cannot be taken from %d training rows; make training.batch 1 to %d", batch, rows, rows)
	}
	return &Order{rows: rows, batch: batch, seed: seed, epoch: -1}, nil
}

// At returns the rows of the global batch at c, and where the next one begins. The slice is
// valid until the next call for another epoch and must not be changed.
func (o *Order) At(c Cursor) (rows []int32, next Cursor, err error) {
	if c.Epoch < 0 || c.Position < 0 || c.Position >= int64(o.rows) {
		return nil, c, fmt.Errorf("epoch %d, position %d is no place in a split of %d rows", c.Epoch, c.Position, o.rows)
	}
	if o.epoch != c.Epoch {
		o.perm, o.epoch = Permutation(o.seed, c.Epoch, o.rows), c.Epoch
	}
	end := min(c.Position+int64(o.batch), int64(o.rows))
	next = Cursor{c.Epoch, end}
	if end == int64(o.rows) {
		next = Cursor{c.Epoch + 1, 0}
	}
	return o.perm[c.Position:end], next, nil
}
