package ckpt

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/safetensors"
)

// share writes the share of one rank of the test's checkpoint: rank 0 has a shard for each of its two tensors, rank 1 one for
// both.
func share(t *testing.T, s storage.Store, prefix string, rank int, change func(*Part)) []Shard {
	t.Helper()
	all := tensors(0)
	of := [][]safetensors.Tensor{all[0][:1], all[0][1:]}
	p := Part{Trial: "trial1", Step: 100, Generation: 1, Rank: rank, World: 2, Layout: "layout"}
	if rank == 1 {
		of, p.First = all[1:], 2
	}
	for i, tensors := range of {
		shard, file, err := NewShard(p.First+i, tensors)
		if err != nil {
			t.Fatal(err)
		}
		if err := PutShard(t.Context(), s, prefix, shard, file); err != nil {
			t.Fatal(err)
		}
		p.Shards = append(p.Shards, shard)
	}
	mine := slices.Clone(p.Shards)
	change(&p)
	if err := PutPart(t.Context(), s, prefix, p); err != nil {
		t.Fatal(err)
	}
	return mine
}

// missing is what is known of the shards of the test's checkpoint before any rank's word.
func missing() [][]Shard { return [][]Shard{make([]Shard, 2), make([]Shard, 1)} }

func same(*Part) {}

func TestGatherAndCommit(t *testing.T) {
	s := memstore.New(memstore.Config{})
	prefix := layout.Checkpoint("trials/trial1/ckpt", 100, 1)
	want := Part{Trial: "trial1", Step: 100, Generation: 1, World: 2, Layout: "layout"}
	shards := missing()
	if missing, err := Gather(t.Context(), s, prefix, want, shards); missing != 2 || err != nil {
		t.Errorf("%d missing at first, %v", missing, err)
	}
	second := share(t, s, prefix, 1, same)
	s.Overwrite(prefix+"/rank-00007.json", []byte("of no rank"))
	s.Overwrite(prefix+"/rank-1.json", []byte("not how we write 1"))
	s.Overwrite(prefix+"/rank--0001.json", []byte("of less than no rank"))
	if missing, err := Gather(t.Context(), s, prefix, want, shards); missing != 1 || err != nil {
		t.Errorf("%d missing, %v", missing, err)
	}
	first := share(t, s, prefix, 0, same)
	missing, err := Gather(t.Context(), s, prefix, want, shards)
	if diff := cmp.Diff([][]Shard{first, second}, shards); diff != "" || missing != 0 || err != nil {
		t.Errorf("%d missing, %v, %s", missing, err, diff)
	}
	saved, err := Commit(t.Context(), s, prefix, manifest(100, 1), slices.Concat(shards...))
	if err != nil {
		t.Fatal(err)
	}
	got, loaded, err := Load(t.Context(), s, prefix, Expect{})
	if diff := cmp.Diff(saved, got); diff != "" || err != nil || len(got.Shards) != 3 {
		t.Errorf("%v, %s", err, diff)
	}
	if diff := cmp.Diff(slices.Concat(tensors(0)...), loaded); diff != "" {
		t.Error(diff)
	}
	if err := Delete(t.Context(), s, prefix); err != nil || len(s.Keys()) != 0 {
		t.Errorf("%v is left, %v", s.Keys(), err)
	}
}

func TestPartRefused(t *testing.T) {
	want := Part{Trial: "trial1", Step: 100, Generation: 1, World: 2, Layout: "layout"}
	prefix := layout.Checkpoint("trials/trial1/ckpt", 100, 1)
	var s *memstore.Store
	for name, change := range map[string]func(*Part){
		"trial":      func(p *Part) { p.Trial = "other" },
		"step":       func(p *Part) { p.Step++ },
		"generation": func(p *Part) { p.Generation++ },
		"world":      func(p *Part) { p.World++ },
		"layout":     func(p *Part) { p.Layout = "other" },
		"length":     func(p *Part) { p.Shards[1].Bytes++ },
		"a shard":    func(p *Part) { p.Shards = p.Shards[:1] },
		"place": func(p *Part) {
			p.First = 1
			for i := range p.Shards {
				b, err := s.Bytes(prefix + "/" + p.Shards[i].Key)
				if err != nil {
					t.Fatal(err)
				}
				p.Shards[i].Key = shardKey(1+i, p.Shards[i].SHA256)
				s.Overwrite(prefix+"/"+p.Shards[i].Key, b)
			}
		},
		"hash": func(p *Part) {
			p.Shards[1].SHA256 = strings.Repeat("0", 64)
			p.Shards[1].Key = shardKey(1, p.Shards[1].SHA256)
		},
	} {
		s = memstore.New(memstore.Config{})
		share(t, s, prefix, 0, change)
		shards := missing()
		if n, err := Gather(t.Context(), s, prefix, want, shards); !errors.Is(err, ErrPart) || n != 2 {
			t.Errorf("%s: %d missing, %v", name, n, err)
		}
		if diff := cmp.Diff(missing(), shards); diff != "" {
			t.Errorf("%s: it was taken\n%s", name, diff)
		}
	}
	s = memstore.New(memstore.Config{})
	shards := share(t, s, prefix, 1, same)
	p := Part{Trial: "trial1", Step: 100, Generation: 1, Rank: 1, World: 2, Layout: "x", First: 2, Shards: shards}
	if err := PutPart(t.Context(), s, prefix, p); !errors.Is(err, ErrExists) {
		t.Errorf("a rank takes back its word: %v", err)
	}
}

// The word on a rank's share is never larger than what is read of it.
func TestPartOfAsManyShardsAsThereMayBe(t *testing.T) {
	s := memstore.New(memstore.Config{})
	want := Part{Trial: "trial1", Step: math.MaxInt64, Generation: math.MaxInt64, Rank: 1, World: 2, Layout: strings.Repeat("0", 64), First: 1}
	sha := strings.Repeat("f", 64)
	for i := 1; i < MaxShards; i++ {
		shard := Shard{Key: shardKey(i, sha), SHA256: sha, Bytes: maxShard, Tensors: math.MaxInt32}
		s.Overwrite("p/"+shard.Key, nil)
		want.Shards = append(want.Shards, shard)
	}
	if err := PutPart(t.Context(), s, "p", want); err != nil {
		t.Fatal(err)
	}
	p, err := readPart(t.Context(), s, "p", want)
	if err != nil || len(p.Shards) != MaxShards-1 {
		t.Errorf("%d shards, %v", len(p.Shards), err)
	}
	m := manifest(100, 1)
	if _, _, err := m.seal(append([]Shard{{Key: shardKey(0, sha), SHA256: sha, Bytes: maxShard}}, want.Shards...)); err != nil {
		t.Errorf("and the manifest: %v", err)
	}
}

// A share whose word is true of its name but not of its bytes is found when it is read.
func TestShareThatIsAnother(t *testing.T) {
	s := memstore.New(memstore.Config{})
	prefix := save(t, s, 100, 1, 0)
	for _, key := range s.Keys() {
		if strings.Contains(key, "shard-00001") {
			b, _ := s.Bytes(key)
			other := append([]byte{}, b...)
			other[len(other)-1] ^= 1
			s.Overwrite(key, other)
		}
	}
	if _, _, err := Load(t.Context(), s, prefix, Expect{}); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func TestAbandoned(t *testing.T) {
	now := time.Unix(1000, 0)
	s := memstore.New(memstore.Config{Now: func() time.Time { return now }})
	save(t, s, 100, 1, 0)
	left, touched := layout.Checkpoint("trials/trial1/ckpt", 50, 1), layout.Checkpoint("trials/trial1/ckpt", 60, 2)
	share(t, s, left, 1, same)
	share(t, s, touched, 0, same)
	s.Overwrite("trials/trial1/ckpt/notes/shard", []byte("not a checkpoint"))
	now = now.Add(time.Hour)
	share(t, s, touched, 1, same)
	got, err := Abandoned(t.Context(), s, "trials/trial1/ckpt", now)
	if diff := cmp.Diff([]Entry{{left, 50, 1}}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got, err := Abandoned(t.Context(), s, "trials/trial1/ckpt", now.Add(1)); len(got) != 2 || err != nil {
		t.Errorf("later: %v, %v", got, err)
	}
}
