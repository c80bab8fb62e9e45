package coordinator

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/fsm"
)

// Quarantine has the coordinator of a data folder, which must be stopped, skip an entry of the log that it cannot apply. It has to
// be done on each coordinator that has the entry. It returns the path of the file that keeps the entry's bytes.
func Quarantine(dataDir string, index uint64, sha256 string, log zerolog.Logger) (string, error) {
	return consensus.Quarantine(Config{DataDir: dataDir}.raftDir(), index, sha256, log)
}

// advise says how to go on after an error that ends a coordinator.
func (c Config) advise(err error) error {
	poison := (*fsm.Poison)(nil)
	if errors.Is(err, format.ErrLevel) || !errors.As(err, &poison) {
		return err // it says itself what to do
	}
	dir, abs := filepath.Abs(c.DataDir)
	if abs != nil {
		dir = c.DataDir
	}
	return fmt.Errorf("%w; nothing after this entry can be applied here. If other coordinators applied it, start their version (%s is this one's). If none can, have all skip it: stop all coordinators, run on each \"tandem coordinator quarantine --data-dir %s --index %d --sha256 %s\" with its own data folder, and start them again", err, c.Version, dir, poison.Index, poison.SHA256)
}
