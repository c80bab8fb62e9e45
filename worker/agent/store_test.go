package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/relay"
	"tandem.dev/worker/data"
)

// line serves the calls of processes and returns the store as one of them reaches it, until end is called: within the bubble.
func (h *host) line(from *runner) (_ *relay.Client, end func()) {
	x := newExchange()
	srv := &http.Server{Handler: h.handler(), ConnContext: withCaller} //nolint:gosec // a test
	go func() { _ = srv.Serve(x) }()                                   // ends with Close
	c := relay.New(func(context.Context) (net.Conn, error) {
		mine, theirs := net.Pipe()
		go x.put(theirs, from) // until it is accepted, or Close
		return mine, nil
	})
	return c, func() {
		c.Close()
		_ = srv.Close()
		_ = x.Close()
	}
}

func put(t *testing.T, s storage.Store, key, content string) {
	t.Helper()
	must(t, s.Put(context.Background(), key, strings.NewReader(content), int64(len(content))))
}

// TestNewKeysReachWhatRuns: engines, their logs and the cache of shards go over to the keys that the newest desired state brings.
func TestNewKeysReachWhatRuns(t *testing.T) {
	dir := t.TempDir()
	supervised(t, func(s *supervisor, _ *stage) {
		stores := map[string]*memstore.Store{"one": memstore.New(memstore.Config{}), "two": memstore.New(memstore.Config{})}
		opened := 0
		s.logs.objects.open = func(c *tandemv1.StorageConfig) (storage.Store, error) {
			opened++
			return stores[c.GetSecretKey()], nil
		}
		s.cfg.shards = data.Cache{Dir: dir, Bytes: 1 << 20}
		h := &host{supervisor: s, objects: s.logs.objects}
		if _, err := h.objects.get(); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("before any desired state: %v", err)
		}
		with := func(key string) []*tandemv1.EngineTask {
			one := task("a", 1, 0)
			one.GetTrain().DatasetPrefix, one.GetTrain().CheckpointPrefix, one.Storage.SecretKey = "datasets/d", "trials/trial-a/ckpt", key
			return []*tandemv1.EngineTask{one}
		}
		desire(s, 1, with("one"))
		synctest.Wait()
		e, err := s.hello("alloc-a1/0")
		must(t, err)
		c, hangUp := h.line(e.proc)
		defer hangUp()
		use := func(key string) {
			t.Helper()
			sum := sha256.Sum256([]byte(key))
			put(t, stores[key], "datasets/d/"+key, key)
			put(t, c, "trials/trial-a/ckpt/"+key, key)
			f, err := h.file(context.Background(), e.proc, &tandemv1.FileRequest{EngineId: "alloc-a1/0", File: &tandemv1.FileRequest_Shard{
				Shard: &tandemv1.ShardFile{Key: "datasets/d/" + key, Sha256: hex.EncodeToString(sum[:]), Bytes: int64(len(key))},
			}})
			must(t, err)
			must(t, f.Close())
			e.log.add("with " + key)
			time.Sleep(3 * time.Second) // virtual: lines are uploaded
			logs := slices.DeleteFunc(stores[key].Keys(), func(k string) bool { return !strings.HasPrefix(k, "trials/trial-a/logs/") })
			if len(logs) != 1 {
				t.Errorf("with the keys %s the log went to %q", key, logs)
			}
			if b, err := stores[key].Bytes("trials/trial-a/ckpt/" + key); err != nil || string(b) != key {
				t.Errorf("with the keys %s the checkpoint is %q, %v", key, b, err)
			}
		}
		use("one")
		desire(s, 2, with("two"))
		use("two")
		desire(s, 1, with("one")) // of a coordinator that lags
		put(t, c, "trials/trial-a/ckpt/last", "x")
		if _, err := stores["two"].Bytes("trials/trial-a/ckpt/last"); err != nil || opened != 2 {
			t.Errorf("after an older state: %v, opened %d times", err, opened)
		}
	})
}

// TestRefusedKeysAreAnOutage: a store that refuses the agent's keys, or that cannot be reached as the desired state says, is one that is
// away, for engines, the cache of shards and logs; what a task has no part in stays denied. With new keys all goes on.
func TestRefusedKeysAreAnOutage(t *testing.T) {
	dir := t.TempDir()
	supervised(t, func(s *supervisor, _ *stage) {
		good := memstore.New(memstore.Config{})
		s.logs.objects.open = func(c *tandemv1.StorageConfig) (storage.Store, error) {
			switch c.GetSecretKey() {
			case "good":
				return good, nil
			case "refused":
				return memstore.New(memstore.Config{Hook: func(context.Context, memstore.Op) memstore.Fault { return memstore.Fault{Err: storage.ErrDenied} }}), nil
			}
			return nil, errors.New("the CA is not a certificate")
		}
		s.cfg.shards = data.Cache{Dir: dir, Bytes: 1 << 20}
		h := &host{supervisor: s, objects: s.logs.objects}
		with := func(key string) []*tandemv1.EngineTask {
			one := task("a", 1, 0)
			one.GetTrain().DatasetPrefix, one.GetTrain().CheckpointPrefix, one.Storage.SecretKey = "datasets/d", "trials/trial-a/ckpt", key
			return []*tandemv1.EngineTask{one}
		}
		desire(s, 1, with("refused"))
		synctest.Wait()
		e, err := s.hello("alloc-a1/0")
		must(t, err)
		c, hangUp := h.line(e.proc)
		defer hangUp()
		put(t, good, "datasets/d/shard", "rows")
		sum := sha256.Sum256([]byte("rows"))
		use := func() (commit, shard error) {
			commit = c.PutIfAbsent(context.Background(), "trials/trial-a/ckpt/manifest", []byte("x"))
			f, shard := h.file(context.Background(), e.proc, &tandemv1.FileRequest{EngineId: "alloc-a1/0", File: &tandemv1.FileRequest_Shard{
				Shard: &tandemv1.ShardFile{Key: "datasets/d/shard", Sha256: hex.EncodeToString(sum[:]), Bytes: 4},
			}})
			if shard == nil {
				must(t, f.Close())
			}
			return commit, shard
		}
		e.log.add("a line")
		for index, key := range []string{"refused", "unusable"} {
			desire(s, uint64(index)+2, with(key))
			time.Sleep(3 * time.Second) // virtual: the line waits
			commit, shard := use()
			if !errors.Is(commit, storage.ErrUnavailable) || errors.Is(commit, storage.ErrDenied) {
				t.Errorf("keys %s: the engine hears %v", key, commit)
			}
			if connect.CodeOf(shard) != connect.CodeUnavailable {
				t.Errorf("keys %s: a shard: %v", key, shard)
			}
			if told := strings.Contains(commit.Error(), "tandem store rotate"); told != (key == "refused") {
				t.Errorf("keys %s: %v", key, commit)
			}
		}
		desire(s, 4, with("refused"))
		if err := c.PutIfAbsent(context.Background(), "trials/b/ckpt/x", []byte("x")); !errors.Is(err, storage.ErrDenied) {
			t.Errorf("another's part: %v", err)
		}
		desire(s, 5, with("good"))
		commit, shard := use()
		must(t, errors.Join(commit, shard))
		time.Sleep(time.Minute) // virtual: lines that waited go there
		keys := good.Keys()
		if len(keys) < 3 || keys[0] != "datasets/d/shard" || keys[1] != "trials/trial-a/ckpt/manifest" {
			t.Fatalf("with good keys there are %q: want the shard, the commit and the line that waited", keys)
		}
		if b, err := good.Bytes(keys[2]); err != nil || !strings.Contains(string(b), `"line":"a line"`) {
			t.Errorf("the line that waited: %s, %v", b, err)
		}
	})
}

// TestProcessHasThePartOfItsTask: what a process may do with the store is what the task needs that it is at, from its Hello until it may
// not act any more.
func TestProcessHasThePartOfItsTask(t *testing.T) {
	supervised(t, func(s *supervisor, st *stage) {
		part := func(n int64, prefix string) *tandemv1.EngineTask {
			one := trialTask(n)
			one.GetTrain().CheckpointPrefix = prefix
			return one
		}
		a, b := part(1, "trials/a/ckpt"), part(2, "trials/b/ckpt")
		h := &host{supervisor: s, objects: s.logs.objects}
		desire(s, 1, []*tandemv1.EngineTask{a})
		synctest.Wait()
		process := s.engines[keyOf(a)].proc
		c, hangUp := h.line(process)
		defer hangUp()
		stranger, leave := h.line(nil)
		defer leave()
		may := func(when string, want ...string) {
			t.Helper()
			var able []string
			for _, key := range []string{"trials/a/ckpt/x", "trials/b/ckpt/x", "models/m/x"} {
				switch err := c.Put(context.Background(), key, strings.NewReader("x"), 1); {
				case err == nil:
					able = append(able, key)
				case !errors.Is(err, storage.ErrDenied):
					t.Errorf("%s: %v", when, err)
				}
			}
			if d := cmp.Diff(want, able); d != "" {
				t.Errorf("%s: %s", when, d)
			}
			if err := stranger.Put(context.Background(), "trials/a/ckpt/x", strings.NewReader("x"), 1); !errors.Is(err, storage.ErrDenied) {
				t.Errorf("who is not an engine: %v", err)
			}
		}
		may("before Hello")
		first := trained(t, s, a.GetId(), "finished")
		may("at the first task", "trials/a/ckpt/x")
		for _, out := range []io.Writer{st.puppets[a.GetId()].spec.stdout, st.puppets[a.GetId()].spec.stderr} {
			_, err := io.WriteString(out, first.log.mark+"\n")
			must(t, err)
		}
		next := make(chan error, 1)
		go func() {
			_, err := s.next(context.Background(), a.GetId())
			next <- err
		}()
		synctest.Wait()
		desire(s, 2, []*tandemv1.EngineTask{b})
		must(t, <-next)
		may("handed over, before Hello")
		_, err := s.hello(b.GetId())
		must(t, err)
		may("at the second task", "trials/b/ckpt/x")
		s.mu.Lock()
		process.engine.fenced = true // and nobody has looked at that yet
		s.mu.Unlock()
		may("fenced")
		s.mu.Lock()
		process.engine.fenced, process.engine.phase = false, phaseKilled
		s.mu.Unlock()
		may("killed")
		process.signal(9)
	})
}

// TestRequestsOfOneProcessAreBounded: a process that opens more requests than an engine makes waits, and takes nothing from others.
func TestRequestsOfOneProcessAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		under := make(chan struct{}, 10*relay.MaxRequests)
		handler := inTurn(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			under <- struct{}{}
			<-release
		}))
		ask := func(from *runner) {
			r := httptest.NewRequestWithContext(context.WithValue(t.Context(), callerKey{}, from), http.MethodGet, relay.Path, nil)
			go handler.ServeHTTP(httptest.NewRecorder(), r)
		}
		one, other := newRunner(&engine{log: &engineLog{}}), newRunner(&engine{log: &engineLog{}})
		for range 3 * relay.MaxRequests {
			ask(one)
		}
		synctest.Wait()
		if n := len(under); n != relay.MaxRequests {
			t.Errorf("%d requests of one process at a time, want %d", n, relay.MaxRequests)
		}
		ask(other)
		synctest.Wait()
		if n := len(under); n != relay.MaxRequests+1 {
			t.Errorf("%d requests, want one of another process besides", n)
		}
		close(release)
		synctest.Wait()
		if n := len(under); n != 3*relay.MaxRequests+1 {
			t.Errorf("%d requests in all", n)
		}
	})
}

// TestTasksAreKeyless: what an engine gets has all of the task but the keys, and the agent keeps these.
func TestTasksAreKeyless(t *testing.T) {
	own := task("a", 1, 0)
	got := keyless(own)
	text, err := proto.Marshal(got)
	if err != nil || bytes.Contains(text, []byte("very-secret")) || got.GetId() != own.GetId() || got.GetTrain() == nil {
		t.Errorf("%v, %v", got, err)
	}
	if own.GetStorage().GetSecretKey() == "" {
		t.Error("the agent has lost the keys")
	}
}
