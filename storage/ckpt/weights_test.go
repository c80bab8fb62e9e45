package ckpt

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage/layout"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/safetensors"
)

func TestWeightsAreTheModelAlone(t *testing.T) {
	s := memstore.New(memstore.Config{})
	prefix := layout.Checkpoint("trials/trial1/ckpt", 100, 1)
	shards := tensors(3)
	shards[0], shards[1] = append(shards[0][:1:1], shards[1][0]), append(shards[0][1:2:2], shards[1][1])
	if _, err := Save(t.Context(), s, prefix, manifest(100, 1), shards); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := WriteWeights(t.Context(), s, prefix, &file); err != nil {
		t.Fatal(err)
	}
	got, _, err := safetensors.Unmarshal(file.Bytes(), safetensors.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	var want []safetensors.Tensor
	for _, x := range []safetensors.Tensor{shards[0][0], shards[1][0]} {
		x.Name = strings.TrimPrefix(x.Name, "model.")
		want = append(want, x)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// One inverted bit anywhere, and it fails.
	rng := rand.New(rand.NewPCG(3, 4))
	keys := s.Keys()
	for i := range 300 {
		key := keys[i%len(keys)]
		b, err := s.Bytes(key)
		if err != nil {
			t.Fatal(err)
		}
		bit := rng.IntN(8 * len(b))
		if err := s.Flip(key, bit); err != nil {
			t.Fatal(err)
		}
		file.Reset()
		if err := WriteWeights(t.Context(), s, prefix, &file); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d of %s inverted: %v", bit, key, err)
		}
		if err := s.Flip(key, bit); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), keys[len(keys)-1]); err != nil {
		t.Fatal(err)
	}
	if err := WriteWeights(t.Context(), s, prefix, &file); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a shard is missing: %v", err)
	}
}
