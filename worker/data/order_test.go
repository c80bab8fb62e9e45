package data

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPermutationIsTheDocumentedOne(t *testing.T) {
	// Golden: a change here breaks the resume of every checkpoint there is.
	golden := map[[2]int64][]int32{
		{7, 0}: {7, 8, 6, 4, 3, 5, 1, 0, 9, 2},
		{7, 1}: {5, 3, 4, 8, 9, 2, 1, 0, 7, 6},
	}
	for k, want := range golden {
		if diff := cmp.Diff(want, Permutation(k[0], k[1], 10)); diff != "" {
			t.Errorf("seed %d, epoch %d (-want +got):\n%s", k[0], k[1], diff)
		}
	}
}

func TestPermutationHasEachRowOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(t, "n")
		p := Permutation(rapid.Int64().Draw(t, "seed"), rapid.Int64Min(0).Draw(t, "epoch"), n)
		seen := make([]bool, n)
		for _, i := range p {
			if seen[i] {
				t.Fatalf("row %d comes twice in %v", i, p)
			}
			seen[i] = true
		}
	})
}

func TestPermutationIsFair(t *testing.T) {
	const n, draws = 8, 16000
	var first [n]int
	for epoch := range int64(draws) {
		first[Permutation(1, epoch, n)[0]]++
	}
	for row, got := range first {
		if got < draws/n*85/100 || got > draws/n*115/100 {
			t.Errorf("row %d came first in %d of %d epochs, about %d expected", row, got, draws, draws/n)
		}
	}
}

// Every sample exactly once per epoch, at any number of ranks, which changes on the way as
// it does after a failure, with steps that are done again.
func TestEachRowOnceThroughResumes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.IntRange(1, 200).Draw(t, "rows")
		batch := rapid.IntRange(1, rows).Draw(t, "batch")
		seed := rapid.Int64().Draw(t, "seed")
		order, err := NewOrder(rows, batch, seed)
		if err != nil {
			t.Fatal(err)
		}
		const epochs = 2
		used := make([][epochs]int, rows)
		var cursor Cursor
		steps := int64(0)
		world := 1
		for cursor.Epoch < epochs {
			if rapid.IntRange(0, 3).Draw(t, "resized") == 0 {
				world = rapid.IntRange(1, 9).Draw(t, "world")
				order, _ = NewOrder(rows, batch, seed) // a new process
			}
			b, next, err := order.At(cursor)
			if err != nil {
				t.Fatal(err)
			}
			before := 0
			for rank := range world {
				lo, hi := Share(len(b), rank, world)
				if lo != before || hi-lo > len(b)/world+1 || hi-lo < len(b)/world {
					t.Fatalf("rank %d of %d takes [%d,%d) of %d after %d", rank, world, lo, hi, len(b), before)
				}
				before = hi
				for _, row := range b[lo:hi] {
					used[row][cursor.Epoch]++
				}
			}
			if before != len(b) {
				t.Fatalf("%d of %d rows were given out", before, len(b))
			}
			steps++
			cursor = next
		}
		if want := epochs * int64((rows+batch-1)/batch); steps != want {
			t.Fatalf("%d steps, want %d", steps, want)
		}
		for row, n := range used {
			if n != [epochs]int{1, 1} {
				t.Fatalf("row %d was used %v times in the epochs", row, n)
			}
		}
	})
}

func TestOrderRefuses(t *testing.T) {
	for _, c := range []struct{ rows, batch int }{{10, 11}, {10, 0}, {0, 1}} {
		if _, err := NewOrder(c.rows, c.batch, 0); err == nil {
			t.Errorf("a batch of %d from %d rows was accepted", c.batch, c.rows)
		}
	}
	o, err := NewOrder(10, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Cursor{{-1, 0}, {0, -1}, {0, 10}} {
		if _, _, err := o.At(c); err == nil {
			t.Errorf("cursor %v was accepted", c)
		}
	}
}
