package ckpt

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
)

// share writes the share of one rank of the test's checkpoint.
func share(t *testing.T, s storage.Store, prefix string, rank int, change func(*Part)) Shard {
	t.Helper()
	shard, file, err := NewShard(rank, tensors(0)[rank])
	if err != nil {
		t.Fatal(err)
	}
	if err := PutShard(t.Context(), s, prefix, shard, file); err != nil {
		t.Fatal(err)
	}
	p := Part{Trial: "trial1", Step: 100, Generation: 1, Rank: rank, World: 2, Layout: "layout", Shard: shard}
	change(&p)
	if err := PutPart(t.Context(), s, prefix, p); err != nil {
		t.Fatal(err)
	}
	return shard
}

func same(*Part) {}

func TestGatherAndCommit(t *testing.T) {
	s := memstore.New(memstore.Config{})
	prefix := Prefix("trials/trial1", 100, 1)
	want := Part{Trial: "trial1", Step: 100, Generation: 1, World: 2, Layout: "layout"}
	shards := make([]Shard, 2)
	if missing, err := Gather(t.Context(), s, prefix, want, shards); missing != 2 || err != nil {
		t.Errorf("%d missing at first, %v", missing, err)
	}
	shards[0] = share(t, s, prefix, 0, same)
	if missing, err := Gather(t.Context(), s, prefix, want, shards); missing != 1 || err != nil {
		t.Errorf("%d missing, %v", missing, err)
	}
	second := share(t, s, prefix, 1, same)
	s.Overwrite(prefix+"/rank-00007.json", []byte("of no rank"))
	s.Overwrite(prefix+"/rank-1.json", []byte("not how we write 1"))
	if missing, err := Gather(t.Context(), s, prefix, want, shards); missing != 0 || err != nil || shards[1] != second {
		t.Errorf("%d missing, %v, %+v", missing, err, shards)
	}
	saved, err := Commit(t.Context(), s, prefix, manifest(100, 1), shards)
	if err != nil {
		t.Fatal(err)
	}
	got, loaded, err := Load(t.Context(), s, prefix, Expect{})
	if diff := cmp.Diff(saved, got); diff != "" || err != nil || len(loaded) != 4 {
		t.Errorf("%v, %s", err, diff)
	}
	if err := Delete(t.Context(), s, prefix); err != nil || len(s.Keys()) != 0 {
		t.Errorf("%v is left, %v", s.Keys(), err)
	}
}

func TestPartRefused(t *testing.T) {
	want := Part{Trial: "trial1", Step: 100, Generation: 1, World: 2, Layout: "layout"}
	for name, change := range map[string]func(*Part){
		"trial":      func(p *Part) { p.Trial = "other" },
		"step":       func(p *Part) { p.Step++ },
		"generation": func(p *Part) { p.Generation++ },
		"world":      func(p *Part) { p.World++ },
		"layout":     func(p *Part) { p.Layout = "other" },
		"length":     func(p *Part) { p.Shard.Bytes++ },
		"hash": func(p *Part) {
			p.Shard.SHA256 = strings.Repeat("0", 64)
			p.Shard.Key = shardKey(1, p.Shard.SHA256)
		},
	} {
		s := memstore.New(memstore.Config{})
		prefix := Prefix("trials/trial1", 100, 1)
		share(t, s, prefix, 1, change)
		shards := make([]Shard, 2)
		if _, err := Gather(t.Context(), s, prefix, want, shards); !errors.Is(err, ErrPart) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := memstore.New(memstore.Config{})
	prefix := Prefix("trials/trial1", 100, 1)
	share(t, s, prefix, 1, same)
	if err := PutPart(t.Context(), s, prefix, Part{Trial: "trial1", Step: 100, Generation: 1, Rank: 1, World: 2, Layout: "x", Shard: share(t, s, "elsewhere", 1, same)}); !errors.Is(err, ErrExists) {
		t.Errorf("a rank takes back its word: %v", err)
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
	left, touched := Prefix("trials/trial1", 50, 1), Prefix("trials/trial1", 60, 2)
	share(t, s, left, 1, same)
	share(t, s, touched, 0, same)
	s.Overwrite("trials/trial1/ckpt/notes/shard", []byte("not a checkpoint"))
	now = now.Add(time.Hour)
	share(t, s, touched, 1, same)
	got, err := Abandoned(t.Context(), s, "trials/trial1", now)
	if diff := cmp.Diff([]Entry{{left, 50, 1}}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got, err := Abandoned(t.Context(), s, "trials/trial1", now.Add(1)); len(got) != 2 || err != nil {
		t.Errorf("later: %v, %v", got, err)
	}
}
