package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/storage"
)

// Suite says what to test.
type Suite struct {
	// New gives a store; all of them may share one server, for each test has its own keys.
	New func(t *testing.T) storage.Store
	// Large is the size of the large objects; choose it above the store's part size.
	Large int64
	// ListPage, if positive, is how many objects the store lists at a time; the suite then
	// lists more than two pages.
	ListPage int
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Suite, storage.Store)
	}{
		{"PutGet", testPutGet},
		{"PutSize", testPutSize},
		{"GetRange", testGetRange},
		{"PutIfAbsent", testPutIfAbsent},
		{"PutIfAbsentRace", testPutIfAbsentRace},
		{"List", testList},
		{"Delete", testDelete},
		{"Keys", testKeys},
		{"Cancelled", testCancelled},
		{"Concurrent", testConcurrent},
		{"Probe", testProbe},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s, s.New(t)) })
	}
}

// folder is where one test keeps its objects.
func folder(t *testing.T) string {
	return "t-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "#", "-").Replace(t.Name()))
}

func content(seed uint64, n int64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	_, _ = r.Read(b) // never fails
	return b
}

func put(t *testing.T, s storage.Store, key string, b []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s storage.Store, key string) []byte {
	t.Helper()
	b, err := storage.ReadAll(t.Context(), s, key, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func testPutGet(t *testing.T, s Suite, st storage.Store) {
	dir := folder(t)
	for i, n := range []int64{0, 1, 1000, s.Large} {
		key := fmt.Sprintf("%s/size-%d", dir, n)
		want := content(uint64(i), n)
		put(t, st, key, want)
		if got := get(t, st, key); !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d others", n, len(got))
		}
		info, err := st.Head(t.Context(), key)
		if err != nil || info.Key != key || info.Size != n {
			t.Errorf("head %s: %+v, %v", key, info, err)
		}
		put(t, st, key, want) // the same bytes again are harmless
		if err := st.Put(t.Context(), key+"-stream", iotest.OneByteReader(bytes.NewReader(want[:min(n, 1000)])), min(n, 1000)); err != nil {
			t.Errorf("put from a slow reader: %v", err)
		}
		section := io.NewSectionReader(bytes.NewReader(append([]byte("before"), want...)), 6, n)
		if err := st.Put(t.Context(), key+"-section", section, n); err != nil {
			t.Errorf("put a section: %v", err)
		}
		if got := get(t, st, key+"-section"); !bytes.Equal(got, want) {
			t.Errorf("a section of %d bytes came back as %d others", n, len(got))
		}
	}
	_, _, err := st.Get(t.Context(), dir+"/none")
	wantErr(t, "get a key that does not exist", err, storage.ErrNotFound)
	_, err = st.Head(t.Context(), dir+"/none")
	wantErr(t, "head a key that does not exist", err, storage.ErrNotFound)
}

func testPutSize(t *testing.T, s Suite, st storage.Store) {
	dir := folder(t)
	for _, n := range []int64{10, s.Large} {
		b := content(9, n)
		for name, size := range map[string]int64{"fewer": n + 1, "more": n - 1} {
			key := fmt.Sprintf("%s/%s-%d", dir, name, n)
			wantErr(t, name+" bytes than announced", st.Put(t.Context(), key, bytes.NewReader(b), size), storage.ErrSize)
			section := io.NewSectionReader(bytes.NewReader(b), 0, n)
			wantErr(t, name+" bytes than announced in a section", st.Put(t.Context(), key, section, size), storage.ErrSize)
			_, err := st.Head(t.Context(), key)
			wantErr(t, "head after a failed put", err, storage.ErrNotFound)
		}
		broken := io.MultiReader(bytes.NewReader(b[:n-1]), iotest.ErrReader(errBroken))
		wantErr(t, "put from a broken reader", st.Put(t.Context(), dir+"/broken", broken, n), errBroken)
		_, err := st.Head(t.Context(), dir+"/broken")
		wantErr(t, "head after a broken put", err, storage.ErrNotFound)
	}
}

var errBroken = errors.New("the reader broke")

func testGetRange(t *testing.T, _ Suite, st storage.Store) {
	key := folder(t) + "/o"
	want := content(3, 1000)
	put(t, st, key, want)
	for _, c := range []struct{ off, n, end int64 }{{0, 1, 1}, {0, 1000, 1000}, {10, 20, 30}, {999, 1, 1000}, {990, 100, 1000}} {
		r, err := st.GetRange(t.Context(), key, c.off, c.n)
		if err != nil {
			t.Fatalf("range %+v: %v", c, err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(got, want[c.off:c.end]) {
			t.Errorf("range %+v: %d bytes, %v", c, len(got), err)
		}
	}
	for _, c := range [][2]int64{{1000, 1}, {2000, 5}, {-1, 5}, {0, 0}, {5, -1}} {
		_, err := st.GetRange(t.Context(), key, c[0], c[1])
		wantErr(t, fmt.Sprintf("range %v", c), err, storage.ErrSize)
	}
	_, err := st.GetRange(t.Context(), key+"-none", 0, 1)
	wantErr(t, "range of a key that does not exist", err, storage.ErrNotFound)
}

func testPutIfAbsent(t *testing.T, _ Suite, st storage.Store) {
	key, ctx := folder(t)+"/commit", t.Context()
	if err := st.PutIfAbsent(ctx, key, []byte("first")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "other bytes", st.PutIfAbsent(ctx, key, []byte("second")), storage.ErrExists)
	wantErr(t, "no bytes", st.PutIfAbsent(ctx, key, nil), storage.ErrExists)
	if err := st.PutIfAbsent(ctx, key, []byte("first")); err != nil {
		t.Errorf("the same bytes again: %v", err)
	}
	if got := get(t, st, key); string(got) != "first" {
		t.Errorf("%q is there, want the first", got)
	}
	wantErr(t, "too many bytes", st.PutIfAbsent(ctx, key+"-large", make([]byte, storage.MaxCommit+1)), storage.ErrSize)
	if err := st.PutIfAbsent(ctx, key+"-max", content(1, storage.MaxCommit)); err != nil {
		t.Errorf("the most bytes allowed: %v", err)
	}
}

func testPutIfAbsentRace(t *testing.T, _ Suite, st storage.Store) {
	const writers = 20
	for round := range 3 {
		key := fmt.Sprintf("%s/commit-%d", folder(t), round)
		errs := make([]error, writers)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				<-start
				errs[i] = st.PutIfAbsent(t.Context(), key, fmt.Appendf(nil, "writer %d", i))
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Errorf("writers %d and %d both won", winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, storage.ErrExists):
				t.Errorf("writer %d: %v", i, err)
			}
		}
		if got, want := string(get(t, st, key)), fmt.Sprintf("writer %d", winner); got != want {
			t.Errorf("%q is there, but %q won", got, want)
		}
	}
}

func testList(t *testing.T, s Suite, st storage.Store) {
	dir := folder(t)
	// In byte order, which is not the order of a walk through folders.
	want := []string{"a-b/1", "a-b/2", "a.c", "a/b/c", "a/b/d", "a=b", "aa", "b/x.1", "b/x1"}
	for i := range 2*s.ListPage + 1 {
		want = append(want, fmt.Sprintf("page/%04d", i))
	}
	for i := range want {
		put(t, st, dir+"/"+want[len(want)-1-i], []byte("x"))
	}
	for _, c := range []struct{ prefix string }{{""}, {"a"}, {"a/"}, {"a/b"}, {"a/b/"}, {"b/x"}, {"page/"}, {"none"}, {"none/"}} {
		var expect []string
		for _, k := range want {
			if strings.HasPrefix(k, c.prefix) {
				expect = append(expect, dir+"/"+k)
			}
		}
		got := keys(t, st, dir+"/"+c.prefix)
		if d := cmp.Diff(expect, got); d != "" {
			t.Errorf("list %q (-want +got):\n%s", c.prefix, d)
		}
	}
	n := 0
	for _, err := range st.List(t.Context(), dir+"/") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break // a caller may stop at any time
		}
	}
}

func keys(t *testing.T, st storage.Store, prefix string) []string {
	t.Helper()
	var got []string
	for info, err := range st.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != 1 {
			t.Errorf("%s is listed with %d bytes", info.Key, info.Size)
		}
		got = append(got, info.Key)
	}
	return got
}

func testDelete(t *testing.T, _ Suite, st storage.Store) {
	key, ctx := folder(t)+"/a/b/c", t.Context()
	put(t, st, key, []byte("x"))
	put(t, st, key+"2", []byte("x"))
	for range 2 { // the second finds nothing, which is fine
		if err := st.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
		_, err := st.Head(ctx, key)
		wantErr(t, "head after delete", err, storage.ErrNotFound)
	}
	if got := keys(t, st, folder(t)+"/"); len(got) != 1 || got[0] != key+"2" {
		t.Errorf("left: %v", got)
	}
	if err := st.PutIfAbsent(ctx, key, []byte("y")); err != nil {
		t.Errorf("write a deleted key: %v", err)
	}
}

func testKeys(t *testing.T, _ Suite, st storage.Store) {
	ctx := t.Context()
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a/.b", "a b", "ä", "a\x00", strings.Repeat("a", 201), strings.Repeat("a/", 300) + "a"} {
		_, _, getErr := st.Get(ctx, key)
		_, rangeErr := st.GetRange(ctx, key, 0, 1)
		_, headErr := st.Head(ctx, key)
		for act, err := range map[string]error{
			"put": st.Put(ctx, key, strings.NewReader(""), 0), "put if absent": st.PutIfAbsent(ctx, key, nil),
			"get": getErr, "range": rangeErr, "head": headErr, "delete": st.Delete(ctx, key),
		} {
			wantErr(t, fmt.Sprintf("%s %.20q", act, key), err, storage.ErrInvalidKey)
		}
	}
	for _, err := range st.List(ctx, "../") {
		wantErr(t, "list ../", err, storage.ErrInvalidKey)
	}
	long := folder(t) + "/" + strings.Repeat("x", 200) + "/" + strings.Repeat("y", 200)
	put(t, st, long, []byte("x"))
	if got := get(t, st, long); string(got) != "x" {
		t.Errorf("a long key gives %q", got)
	}
}

func testCancelled(t *testing.T, _ Suite, st storage.Store) {
	key := folder(t) + "/o"
	put(t, st, key, []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, getErr := st.Get(ctx, key)
	_, headErr := st.Head(ctx, key)
	var listErr error
	for _, listErr = range st.List(ctx, folder(t)) {
		break
	}
	for act, err := range map[string]error{
		"put": st.Put(ctx, key+"2", strings.NewReader(""), 0), "put if absent": st.PutIfAbsent(ctx, key+"3", nil),
		"get": getErr, "head": headErr, "list": listErr, "delete": st.Delete(ctx, key),
	} {
		wantErr(t, act, err, context.Canceled)
	}
	if got := keys(t, st, folder(t)); len(got) != 1 {
		t.Errorf("after cancelled calls: %v", got)
	}
}

func testConcurrent(t *testing.T, _ Suite, st storage.Store) {
	dir := folder(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 4 {
				key := fmt.Sprintf("%s/w%d/o%d", dir, i, j)
				want := content(uint64(i*100+j), 2000)
				if err := st.Put(t.Context(), key, bytes.NewReader(want), int64(len(want))); err != nil {
					t.Error(err)
					return
				}
				got, err := storage.ReadAll(t.Context(), st, key, 1<<20)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: other bytes came back (%v)", key, err)
				}
			}
		})
	}
	wg.Wait()
}

func testProbe(t *testing.T, _ Suite, st storage.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := storage.Probe(ctx, st); err != nil {
		t.Error(err)
	}
	if got := keys(t, st, "probe/"); len(got) != 0 {
		t.Errorf("the probe left %v", got)
	}
}
