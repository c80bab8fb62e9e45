package coordinator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

func noStore(*tandemv1.StorageConfig) (storage.Store, error) { return newStore(), nil }

// TestLogThatIsGone: a coordinator that has had a vote does not begin with an empty log: what it had acknowledged could be lost for all.
func TestLogThatIsGone(t *testing.T) {
	r := start(t, testConfig(filepath.Join(t.TempDir(), "c")), newStore())
	r.stop()
	r = start(t, r.cfg, newStore()) // with its log it begins again
	r.stop()
	if err := os.RemoveAll(r.cfg.raftDir()); err != nil {
		t.Fatal(err)
	}
	_, err := New(r.cfg, Deps{Log: zerolog.Nop(), OpenStore: noStore, Fatal: func(err error) { t.Error(err) }})
	if err == nil || !strings.Contains(err.Error(), "it is empty, and this coordinator has had one; if other coordinators are up, take this one out") {
		t.Errorf("it began with an empty log: %v", err)
	}
}
