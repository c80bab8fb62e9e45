package data

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/memstore"
)

// build puts a dataset of a few rows into a store.
func build(t *testing.T, csv string, change func(*dataset.Options)) *memstore.Store {
	t.Helper()
	store := memstore.New(memstore.Config{})
	o := dataset.DefaultOptions()
	o.Label = "y"
	if change != nil {
		change(&o)
	}
	_, _, err := dataset.FromCSV(context.Background(), strings.NewReader(csv), o, func(name string, b []byte) error {
		return store.Put(context.Background(), "datasets/d/"+name, strings.NewReader(string(b)), int64(len(b)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func table(rows int) string {
	var b strings.Builder
	b.WriteString("a,b,y\n")
	for i := range rows {
		fmt.Fprintf(&b, "%d,%d,%d\n", i, 2*i, i%2)
	}
	return b.String()
}

func TestLoadNormalises(t *testing.T) {
	store := build(t, table(40), func(o *dataset.Options) {
		o.Normalize = dataset.Normalize{Method: dataset.MethodScale, Factor: 0.5}
	})
	set, err := Load(context.Background(), store, "datasets/d", Options{Splits: []string{Train, Test}, KeepRaw: true})
	if err != nil {
		t.Fatal(err)
	}
	train := set.Split(Train)
	if train.Rows != 32 || set.Split(Test).Rows != 4 || set.Split(Validation) != nil {
		t.Fatalf("train has %d rows, test %d", train.Rows, set.Split(Test).Rows)
	}
	for i := range train.Raw {
		if train.X[i] != train.Raw[i]*0.5 {
			t.Fatalf("value %d: %v became %v", i, train.Raw[i], train.X[i])
		}
	}
	for i, y := range train.Labels {
		if want := int64(train.Raw[2*i]) % 2; y != want {
			t.Errorf("row %d has label %d, want %d", i, y, want)
		}
	}
}

func TestGatherAndSlice(t *testing.T) {
	b := Batch{Rows: 3, Shape: []int64{2}, X: []float32{0, 1, 10, 11, 20, 21}, Labels: []int64{5, 6, 7}}
	var got Batch
	b.Gather(&got, []int32{2, 0, 2})
	b.Gather(&got, []int32{2, 0}) // the memory of the first is used again
	want := Batch{Rows: 2, Shape: []int64{2}, X: []float32{20, 21, 0, 1}, Labels: []int64{7, 5}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("gather (-want +got):\n%s", diff)
	}
	want = Batch{Rows: 1, Shape: []int64{2}, X: []float32{10, 11}, Labels: []int64{6}}
	if diff := cmp.Diff(want, b.Slice(1, 2)); diff != "" {
		t.Errorf("slice (-want +got):\n%s", diff)
	}
}

func TestLoadRefusesDamage(t *testing.T) {
	store := build(t, table(40), nil)
	if err := store.Flip("datasets/d/train-00000.arrow", 4000); err != nil {
		t.Fatal(err)
	}
	_, err := Load(context.Background(), store, "datasets/d", Options{Splits: []string{Train}})
	if !errors.Is(err, dataset.ErrCorrupt) {
		t.Errorf("a flipped bit gave %v", err)
	}
	_, err = Load(context.Background(), store, "datasets/none", Options{Splits: []string{Train}})
	if !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a dataset that does not exist gave %v", err)
	}
}

func TestCheckLabels(t *testing.T) {
	m := dataset.Manifest{Task: dataset.TaskClassification, NumClasses: 3}
	for _, labels := range [][]int64{{0, 3}, {-1, 0}, {0}} {
		err := checkLabels(&Split{Name: Train, Batch: Batch{Rows: 2, Labels: labels}}, m)
		if !errors.Is(err, dataset.ErrCorrupt) {
			t.Errorf("labels %v of 3 classes gave %v", labels, err)
		}
	}
	if err := checkLabels(&Split{Name: Train, Batch: Batch{Rows: 2, Labels: []int64{0, 2}}}, m); err != nil {
		t.Errorf("good labels gave %v", err)
	}
}
