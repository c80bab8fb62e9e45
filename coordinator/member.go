package coordinator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// memberFile says that a coordinator of this data folder has had a vote. Without its log it has to say so, and not vote as one who never
// heard of what it has agreed to: entries that were acknowledged could be lost.
func (c Config) memberFile() string { return filepath.Join(c.DataDir, "member") }

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
