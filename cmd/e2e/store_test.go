package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/s3"
)

// keyring is the keys that the store lets in.
type keyring struct {
	mu      sync.Mutex
	secrets map[string]string // by access key
	asked   map[string]int    // how often each was used
}

func (k *keyring) secret(access string) (string, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked[access]++
	secret, ok := k.secrets[access]
	return secret, ok
}

// set adds a key, or with no secret takes it away.
func (k *keyring) set(access, secret string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.secrets[access] = secret; secret == "" {
		delete(k.secrets, access)
	}
}

func (k *keyring) uses(access string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked[access]
}

// TestStoreRotates changes the store's keys in the middle of a training and takes the former ones away: it goes on undisturbed, and its
// checkpoints and its log are written with the new ones.
func TestStoreRotates(t *testing.T) {
	c := newCluster(t, 1, 1, 1)
	c.digits()
	id := c.submit(c.spec("run", strings.Replace(longMLP("run", 1_000_000), "workers: 2", "workers: 1", 1)))
	newest := func() int64 {
		list, err := c.api.Checkpoints.ListCheckpoints(t.Context(), connect.NewRequest(&tandemv1.ListCheckpointsRequest{JobId: id}))
		if err != nil || len(list.Msg.GetCheckpoints()) == 0 {
			return 0
		}
		return list.Msg.GetCheckpoints()[0].GetStep()
	}
	another := func(what string) {
		t.Helper()
		before := newest()
		eventually(t, 30*time.Second, what, func() bool { return newest() > before })
	}
	another("a first checkpoint")

	const access, secret = "cluster-two", "another-secret-key-of-many-characters"
	file := filepath.Join(c.dir, "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.runAny("store", "rotate", "--access-key", access, "--secret-key-file", file); c.code == 0 || !strings.Contains(c.stderr, "nothing was changed") {
		t.Errorf("keys that the store does not know: exit code %d, %s", c.code, c.stderr)
	}
	c.keyring.set(access, secret)
	c.run(0, "store", "rotate", "--access-key", access, "--secret-key-file", file)
	eventually(t, 30*time.Second, "a whole checkpoint is written with the new keys only", func() bool {
		before := c.keyring.uses(storeKey)
		another("a checkpoint after the rotation")
		return c.keyring.uses(storeKey) == before
	})
	c.keyring.set(storeKey, "")
	old, err := s3.New(s3.Config{Endpoint: c.storeAddress, Bucket: "tandem", AccessKey: storeKey, SecretKey: storeSecret})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Head(t.Context(), "cluster.json"); !errors.Is(err, storage.ErrDenied) {
		t.Errorf("with the former keys: %v", err)
	}
	used := c.keyring.uses(storeKey)
	another("a checkpoint without the former keys")
	another("and one more")
	c.run(0, "pause", id)
	var trial *tandemv1.Trial
	eventually(t, 20*time.Second, "it is paused", func() bool {
		j, now, err := job(t.Context(), c.api, id)
		trial = now
		return err == nil && j.GetState() == tandemv1.JobState_JOB_STATE_PAUSED
	})
	if trial.GetRestarts() != 0 || trial.GetGeneration() != 1 {
		t.Errorf("the training was disturbed: %d restarts, generation %d", trial.GetRestarts(), trial.GetGeneration())
	}
	eventually(t, 20*time.Second, "the end of the log is in the store", func() bool {
		return strings.Contains(c.runAny("logs", id), "stopping as asked")
	})
	if n := c.keyring.uses(storeKey) - used; n != 0 {
		t.Errorf("the former keys were tried %d times after they were taken away", n)
	}
}
