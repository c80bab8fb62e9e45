package coordinator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/proto/identity"
)

// Joined says whether the data folder belongs to a cluster.
func (c Config) Joined() (bool, error) {
	switch _, err := c.credentials(); {
	case err == nil:
		return true, nil
	case errors.Is(err, identity.ErrNone):
		return false, nil
	default:
		return false, c.remedy(err)
	}
}

// credentials reads who this coordinator is. Where it has a log it has been somebody: it must not become another one, with keys in the
// place of those of its cluster.
func (c Config) credentials() (*identity.Credentials, error) {
	creds, err := identity.Load(c.pkiDir())
	if _, none := os.Stat(c.raftDir()); errors.Is(err, identity.ErrNone) && (none == nil || c.isMember()) {
		return nil, &identity.Damaged{Path: filepath.Join(c.pkiDir(), identity.FileNode), Err: fs.ErrNotExist}
	}
	return creds, err
}

// remedy adds to an error about a file of the data folder what to do.
func (c Config) remedy(err error) error {
	var damaged *identity.Damaged
	if !errors.As(err, &damaged) {
		return err
	}
	return fmt.Errorf("%w: %s", err, remedies(filepath.Base(damaged.Path)))
}

func remedies(file string) string {
	switch file {
	case identity.FilePeers:
		return identity.PeersRemedy
	case identity.FileNode, identity.FileKey:
		return `put back a copy of the file; without one, ` + consensus.Remedy("NODE") + ` (NODE is its id, which "tandem cluster describe" has)`
	}
	return "copy the file from the pki folder of another coordinator, which has the same, or put back a copy of this one"
}

// memberFile says that a coordinator of this data folder has had a vote. Without its log it has to say so, and not vote as one who never
// heard of what it has agreed to: entries that were acknowledged could be lost.
// It is in the folder of keys: without these the log is no use, and without the log they must not be used.
func (c Config) memberFile() string { return filepath.Join(c.pkiDir(), "member") }

func (c Config) isMember() bool {
	_, err := os.Stat(c.memberFile())
	return err == nil
}

func (c Config) setMember() error {
	f, err := os.OpenFile(c.memberFile(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("write down that this coordinator has a vote: %w", err)
	}
	return nil
}
