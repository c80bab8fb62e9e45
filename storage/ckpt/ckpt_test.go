package ckpt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/safetensors"
	"tandem.dev/storage/sealed"
)

func manifest(step, gen int64) Manifest {
	return Manifest{
		Job: "job1", Trial: "trial1", Step: step, Epoch: 2, Generation: gen, SpecHash: "abc", DatasetID: "ds1",
		Seed: 1<<53 + 1, Cursor: Cursor{Epoch: 2, Position: 640}, WorldSize: 2,
		Metrics: map[string]float64{"val/loss": 0.1, "accuracy": 0.97}, Best: &Best{Metric: "accuracy", Value: 0.98, Step: 80},
		SavedUnixMS: 1,
	}
}

func tensors(seed byte) [][]safetensors.Tensor {
	r := rand.NewChaCha8([32]byte{seed})
	one := func(name string, n int64) safetensors.Tensor {
		data := make([]byte, 4*n)
		_, _ = r.Read(data) // never fails
		return safetensors.Tensor{Name: name, DType: "F32", Shape: []int64{n}, Data: data}
	}
	step := safetensors.Tensor{Name: "optim.step", DType: "I64", Shape: []int64{}, Data: binary.LittleEndian.AppendUint64(nil, 100)}
	return [][]safetensors.Tensor{
		{one("model.0.weight", 100), one("model.0.bias", 10)},
		{one("optim.0.weight.exp_avg", 100), step},
	}
}

func save(t *testing.T, s storage.Store, step, gen int64, seed byte) string {
	t.Helper()
	prefix := layout.Checkpoint("trials/trial1/ckpt", step, gen)
	if _, err := Save(t.Context(), s, prefix, manifest(step, gen), tensors(seed)); err != nil {
		t.Fatal(err)
	}
	return prefix
}

func TestSaveLoad(t *testing.T) {
	s := memstore.New(memstore.Config{})
	prefix := save(t, s, 100, 1, 0)
	m, got, err := Load(t.Context(), s, prefix, Expect{Trial: "trial1", SpecHash: "abc", DatasetID: "ds1"})
	if err != nil {
		t.Fatal(err)
	}
	want := tensors(0)
	if d := cmp.Diff(append(want[0], want[1]...), got); d != "" {
		t.Error(d)
	}
	wantM := manifest(100, 1)
	wantM.Format, wantM.FormatVersion, wantM.Shards = format, formatVersion, m.Shards
	if d := cmp.Diff(wantM, m); d != "" {
		t.Error(d)
	}
	if v, err := Verify(t.Context(), s, prefix); err != nil || !cmp.Equal(m, v) {
		t.Errorf("verify: %v", err)
	}
	if keys := s.Keys(); len(keys) != 3 || keys[0] != "trials/trial1/ckpt/000000000100-g1/manifest.json" {
		t.Errorf("keys %v", keys)
	}
}

// One inverted bit anywhere in a checkpoint, 1,000 times: none is loaded.
func TestThousandBitFlips(t *testing.T) {
	s := memstore.New(memstore.Config{})
	prefix := save(t, s, 100, 1, 0)
	keys := s.Keys()
	rng := rand.New(rand.NewPCG(1, 2))
	flips := map[string]int{}
	for i := range 1000 {
		key := keys[i%len(keys)]
		b, err := s.Bytes(key)
		if err != nil {
			t.Fatal(err)
		}
		bit := rng.IntN(8 * len(b))
		if err := s.Flip(key, bit); err != nil {
			t.Fatal(err)
		}
		m, got, err := Load(t.Context(), s, prefix, Expect{})
		if !errors.Is(err, ErrCorrupt) || got != nil || m.Trial != "" {
			t.Fatalf("bit %d of %s inverted, and it was loaded: %v", bit, key, err)
		}
		if err := s.Flip(key, bit); err != nil {
			t.Fatal(err)
		}
		flips[key]++
	}
	if len(flips) != 3 {
		t.Errorf("not every object was damaged: %v", flips)
	}
	if _, _, err := Load(t.Context(), s, prefix, Expect{}); err != nil {
		t.Errorf("undamaged again: %v", err)
	}
}

// Every operation of a save fails once, with and without effect, or is torn: afterwards
// there is either nothing or the whole checkpoint, and saving again succeeds.
func TestSaveFails(t *testing.T) {
	planned := errors.New("planned")
	for n := 1; n <= 3; n++ {
		for name, fault := range map[string]memstore.Fault{
			"refused": {Err: planned}, "lost answer": {Err: planned, TakeEffect: true}, "torn": {Err: planned, Torn: 20},
		} {
			t.Run(fmt.Sprintf("%d %s", n, name), func(t *testing.T) {
				s := memstore.New(memstore.Config{Hook: func(_ context.Context, op memstore.Op) memstore.Fault {
					if op.N == n {
						return fault
					}
					return memstore.Fault{}
				}})
				prefix := layout.Checkpoint("trials/trial1/ckpt", 100, 1)
				if _, err := Save(t.Context(), s, prefix, manifest(100, 1), tensors(0)); !errors.Is(err, planned) {
					t.Fatal(err)
				}
				_, got, err := Load(t.Context(), s, prefix, Expect{})
				committed := n == 3 && name == "lost answer"
				switch {
				case committed && err != nil:
					t.Errorf("committed, but: %v", err)
				case !committed && (!errors.Is(err, storage.ErrNotFound) && !errors.Is(err, ErrCorrupt) || got != nil):
					t.Errorf("not committed, but: %v", err)
				}
				_, err = Save(t.Context(), s, prefix, manifest(100, 1), tensors(0))
				if n == 3 && name == "torn" {
					// A store that tears the commit itself: the place stays unusable, and says so.
					if !errors.Is(err, ErrExists) {
						t.Errorf("save over a torn manifest: %v", err)
					}
					return
				}
				if err != nil {
					t.Errorf("save again: %v", err)
				}
				if _, err := Verify(t.Context(), s, prefix); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestMissingShard(t *testing.T) {
	s := memstore.New(memstore.Config{})
	prefix := save(t, s, 100, 1, 0)
	if err := s.Delete(t.Context(), s.Keys()[1]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(t.Context(), s, prefix, Expect{}); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// A stray writer of an old generation cannot damage what is committed.
func TestSecondWriter(t *testing.T) {
	s := memstore.New(memstore.Config{})
	prefix := save(t, s, 100, 1, 0)
	if _, err := Save(t.Context(), s, prefix, manifest(100, 1), tensors(9)); !errors.Is(err, ErrExists) {
		t.Errorf("other content at the same place: %v", err)
	}
	save(t, s, 100, 1, 0) // the same content is fine
	if _, err := Verify(t.Context(), s, prefix); err != nil {
		t.Errorf("the first writer's checkpoint is damaged: %v", err)
	}
}

func TestForeign(t *testing.T) {
	s := memstore.New(memstore.Config{})
	prefix := save(t, s, 100, 1, 0)
	for _, e := range []Expect{{Trial: "other"}, {SpecHash: "other"}, {DatasetID: "other"}} {
		if _, got, err := Load(t.Context(), s, prefix, e); !errors.Is(err, ErrForeign) || got != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
	// All its objects copied to where another step should be.
	moved := layout.Checkpoint("trials/trial1/ckpt", 200, 1)
	for _, key := range s.Keys() {
		b, err := s.Bytes(key)
		if err != nil {
			t.Fatal(err)
		}
		s.Overwrite(strings.Replace(key, prefix, moved, 1), b)
	}
	if _, _, err := Load(t.Context(), s, moved, Expect{}); !errors.Is(err, ErrForeign) {
		t.Errorf("moved: %v", err)
	}
}

func TestSaveRefuses(t *testing.T) {
	for name, change := range map[string]func(*Manifest, *[][]safetensors.Tensor){
		"NaN metric":   func(m *Manifest, _ *[][]safetensors.Tensor) { m.Metrics["x"] = math.NaN() },
		"infinite":     func(m *Manifest, _ *[][]safetensors.Tensor) { m.Best.Value = math.Inf(1) },
		"no world":     func(m *Manifest, _ *[][]safetensors.Tensor) { m.WorldSize = 0 },
		"negative":     func(m *Manifest, _ *[][]safetensors.Tensor) { m.Step = -1 },
		"no shards":    func(_ *Manifest, ts *[][]safetensors.Tensor) { *ts = nil },
		"doubled name": func(_ *Manifest, ts *[][]safetensors.Tensor) { (*ts)[1][0].Name = (*ts)[0][0].Name },
		"bad tensor":   func(_ *Manifest, ts *[][]safetensors.Tensor) { (*ts)[0][0].Data = nil },
	} {
		s := memstore.New(memstore.Config{})
		m, ts := manifest(1, 1), tensors(0)
		change(&m, &ts)
		if _, err := Save(t.Context(), s, "p", m, ts); err == nil {
			t.Errorf("%s: saved", name)
		}
		if s.Ops() != 0 {
			t.Errorf("%s: the store was touched", name)
		}
	}
}

func TestList(t *testing.T) {
	s := memstore.New(memstore.Config{})
	if found, err := List(t.Context(), s, "trials/trial1/ckpt"); len(found) != 0 || err != nil {
		t.Errorf("without any: %v, %v", found, err)
	}
	for i, c := range [][2]int64{{50, 1}, {100, 1}, {75, 2}} {
		save(t, s, c[0], c[1], byte(i))
	}
	s.Overwrite(layout.Checkpoint("trials/trial1/ckpt", 500, 3)+"/shard-00000-0123456789abcdef.safetensors", []byte("not committed"))
	s.Overwrite("trials/trial1/ckpt/notes/manifest.json", []byte("not a checkpoint"))
	s.Overwrite("trials/trial1/ckpt/0000000000007-g1/manifest.json", []byte("not how we write 7"))
	found, err := List(t.Context(), s, "trials/trial1/ckpt")
	want := []Entry{
		{"trials/trial1/ckpt/000000000075-g2", 75, 2},
		{"trials/trial1/ckpt/000000000100-g1", 100, 1},
		{"trials/trial1/ckpt/000000000050-g1", 50, 1},
	}
	if d := cmp.Diff(want, found); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestDelete(t *testing.T) {
	var order []string
	s := memstore.New(memstore.Config{Hook: func(_ context.Context, op memstore.Op) memstore.Fault {
		if op.Kind == memstore.OpDelete {
			order = append(order, op.Key)
		}
		return memstore.Fault{}
	}})
	prefix, other := save(t, s, 100, 1, 0), save(t, s, 1000, 1, 0)
	for range 2 {
		if err := Delete(t.Context(), s, prefix); err != nil {
			t.Fatal(err)
		}
	}
	if len(order) != 4 || order[0] != prefix+"/"+manifestName {
		t.Errorf("deleted in the order %v", order)
	}
	if _, err := Verify(t.Context(), s, other); err != nil || len(s.Keys()) != 3 {
		t.Errorf("the other checkpoint: %v, %v", s.Keys(), err)
	}
}

// goldenManifest pins the format: if this test fails, old checkpoints cannot be read.
const goldenManifest = `{"body":{"format":"tandem-checkpoint","format_version":1,"job":"j","trial":"t","step":7,"epoch":0,"generation":1,"spec_hash":"s","dataset_id":"d","seed":3,"cursor":{"epoch":0,"position":448},"world_size":1,"metrics":{"loss":0.5},"shards":[{"key":"shard-00000-aaaaaaaaaaaaaaaa.safetensors","sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","bytes":100,"tensors":2}]},"sha256":"119fb07b61619c2c7b8df99113167e39efe27260979aee356059b82a096a4511"}` + "\n"

func TestGoldenManifest(t *testing.T) {
	m, err := ParseManifest([]byte(goldenManifest))
	if err != nil {
		t.Fatal(err)
	}
	if m.Step != 7 || m.Cursor.Position != 448 || m.Metrics["loss"] != 0.5 || m.Shards[0].Tensors != 2 {
		t.Errorf("%+v", m)
	}
}

func TestManifestRefused(t *testing.T) {
	good, err := ParseManifest([]byte(goldenManifest))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Manifest){
		"format":         func(m *Manifest) { m.Format = "other" },
		"future version": func(m *Manifest) { m.FormatVersion = 2 },
		"path":           func(m *Manifest) { m.Shards[0].Key = "../../x" },
		"key of other":   func(m *Manifest) { m.Shards[0].Key = "shard-00001-aaaaaaaaaaaaaaaa.safetensors" },
		"short sha":      func(m *Manifest) { m.Shards[0].SHA256 = "a" },
		"no bytes":       func(m *Manifest) { m.Shards[0].Bytes = 0 },
		"huge":           func(m *Manifest) { m.Shards[0].Bytes = 1 << 60 },
		"no shards":      func(m *Manifest) { m.Shards = nil },
	} {
		m := good
		m.Shards = append([]Shard{}, good.Shards...)
		change(&m)
		b, err := sealed.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseManifest(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(goldenManifest))
	f.Add([]byte(strings.Replace(goldenManifest, `"step":7`, `"step":-7`, 1)))
	f.Add([]byte(`{"body":{},"sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		if again, err := sealed.Marshal(m); err != nil || string(again) != string(b) {
			t.Errorf("read, but written differently: %v", err)
		}
	})
}
