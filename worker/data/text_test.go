package data

import (
	"context"
	"slices"
	"strings"
	"testing"

	"tandem.dev/storage/dataset"
	"tandem.dev/storage/memstore"
)

// novel puts a text into a store.
func novel(t *testing.T, text string, window int, shard int64) *memstore.Store {
	t.Helper()
	store := memstore.New(memstore.Config{})
	o := dataset.TextOptions{Context: window, Split: dataset.Ratio{3, 1, 0}, Limits: dataset.Limits{Bytes: 1 << 20, ShardBytes: shard}}
	_, err := dataset.FromText(context.Background(), strings.NewReader(text), o, func(name string, b []byte) error {
		return store.Put(context.Background(), "datasets/d/"+name, strings.NewReader(string(b)), int64(len(b)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestTextBecomesNextBytes(t *testing.T) {
	set, err := Load(t.Context(), novel(t, "abcdefghijklmnopqrst", 4, 1000), "datasets/d", Options{Splits: []string{Train}})
	if err != nil {
		t.Fatal(err)
	}
	var got Batch
	if err := set.Split(Train).Gather(t.Context(), &got, []int32{1, 0}); err != nil {
		t.Fatal(err)
	}
	if want := []float32{'e', 'f', 'g', 'h', 'a', 'b', 'c', 'd'}; !slices.Equal(got.X, want) {
		t.Errorf("input %v, want %v", got.X, want)
	}
	if want := []int64{'f', 'g', 'h', 'i', 'b', 'c', 'd', 'e'}; !slices.Equal(got.Labels, want) {
		t.Errorf("labels %v, want %v", got.Labels, want)
	}
	if one := set.Split(Train).Slice(1, 2); !slices.Equal(one.Labels, got.Labels[:4]) || !slices.Equal(one.X, got.X[:4]) {
		t.Errorf("the second row is %v", one)
	}
}
