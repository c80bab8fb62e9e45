package consensus

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Quarantine puts a command that says "skipped" in the place of one entry of the log in a folder whose coordinator is stopped,
// and keeps the entry's bytes in a file beside the log, whose path it returns. The entry must be the one with this SHA-256, and it
// must be one that this program cannot apply on the state that the folder gives.
//
// It changes a log that Raft holds for settled, which is safe for one reason only: the entry has no effect anywhere, for nobody
// can apply it, and what takes its place follows from its bytes alone, so that all coordinators that were told so agree.
func Quarantine(dir string, index uint64, sha256 string, log zerolog.Logger) (kept string, err error) {
	if _, err := os.Stat(filepath.Join(dir, logFile)); err != nil {
		return "", fmt.Errorf("open the log: %w; give the data folder of a coordinator", err)
	}
	n := &Node{cfg: Config{Dir: dir}, log: log}
	defer func() { err = errors.Join(err, n.close()) }()
	stores, err := n.openDir(&raftLog{to: log})
	if err != nil {
		return "", err
	}
	kept = filepath.Join(dir, fmt.Sprintf("quarantined-%d", index))
	return kept, QuarantineIn(stores, index, sha256, func(data []byte) error {
		if err := os.WriteFile(kept, data, 0o600); err != nil {
			return fmt.Errorf("keep the entry's bytes: %w", err)
		}
		return nil
	})
}

// QuarantineIn is Quarantine on stores; keep is given the entry's bytes before they are replaced. An entry that is quarantined
// already is left as it is.
func QuarantineIn(stores *Stores, index uint64, sha256 string, keep func(data []byte) error) error {
	entry := &raft.Log{}
	if err := stores.Logs.GetLog(index, entry); err != nil {
		return fmt.Errorf("read entry %d: %w; the message of the coordinator that ended names the index", index, err)
	}
	if entry.Type != raft.LogCommand {
		return fmt.Errorf("entry %d belongs to Raft itself and is not a command", index)
	}
	if there := (&tandemv1.Command{}); proto.Unmarshal(entry.Data, there) == nil && there.GetQuarantine().GetSha256() == sha256 {
		return nil
	}
	if has := format.Digest(entry.Data); has != sha256 {
		return fmt.Errorf("entry %d has the SHA-256 %s and not %s: give those that the coordinator named when it ended", index, has, sha256)
	}
	if err := cannotApply(stores, entry); err != nil {
		return err
	}
	if err := keep(entry.Data); err != nil {
		return err
	}
	var err error
	if entry.Data, err = skipped(entry.Data, sha256); err != nil {
		return err
	}
	if err := stores.Logs.StoreLog(entry); err != nil {
		return fmt.Errorf("write entry %d: %w", index, err)
	}
	return nil
}

// skipped is the command that takes the place of an entry. It follows from the entry's bytes.
func skipped(data []byte, sha256 string) ([]byte, error) {
	was := &tandemv1.Command{}
	_ = proto.Unmarshal(data, was) // what can be read of it; the time if nothing else
	cmd := &tandemv1.Command{Time: was.GetTime(), Actor: "operator", Ignorable: true, Command: &tandemv1.Command_Quarantine{
		Quarantine: &tandemv1.Quarantine{Sha256: sha256},
	}}
	if cmd.GetTime() == nil || !cmd.GetTime().IsValid() {
		cmd.Time = &timestamppb.Timestamp{}
	}
	stamp(cmd)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(cmd)
	if err != nil {
		return nil, fmt.Errorf("encode a command: %w", err)
	}
	return b, nil
}

// cannotApply returns nil when an entry cannot be applied on what the stores hold before it.
func cannotApply(stores *Stores, entry *raft.Log) error {
	s := state.New()
	if err := restoreNewest(stores.Snapshots, s); err != nil {
		return err
	}
	if s.Index() >= entry.Index {
		return fmt.Errorf("entry %d was applied here: a snapshot of entry %d is in the folder", entry.Index, s.Index())
	}
	first, err := stores.Logs.FirstIndex()
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	var failed error
	machine := fsm.New(s, func(err error) { failed = err })
	for i := max(first, s.Index()+1); i < entry.Index; i++ {
		before := &raft.Log{}
		if err := stores.Logs.GetLog(i, before); err != nil {
			return fmt.Errorf("read entry %d: %w", i, err)
		}
		if machine.ApplyBatch([]*raft.Log{before}); failed != nil {
			return fmt.Errorf("an entry before entry %d cannot be applied either, quarantine that one first: %w", entry.Index, failed)
		}
	}
	machine.ApplyBatch([]*raft.Log{entry})
	switch {
	case failed == nil:
		return fmt.Errorf("entry %d can be applied: it is not quarantined", entry.Index)
	case errors.Is(failed, format.ErrLevel):
		return fmt.Errorf("entry %d is not quarantined: %w", entry.Index, failed)
	}
	return nil
}

// restoreNewest restores the newest snapshot, if there is one.
func restoreNewest(snapshots raft.SnapshotStore, s *state.State) error {
	all, err := snapshots.List()
	if err != nil {
		return fmt.Errorf("list the snapshots: %w", err)
	}
	if len(all) == 0 {
		return nil
	}
	_, r, err := snapshots.Open(all[0].ID)
	if err != nil {
		return fmt.Errorf("open snapshot %s: %w", all[0].ID, err)
	}
	return errors.Join(format.Restore(s, io.Reader(r)), r.Close())
}
