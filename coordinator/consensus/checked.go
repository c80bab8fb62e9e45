package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// checkedLogs is a log store that keeps a checksum with each entry, for bbolt has none of what it holds: a bit that turned on the disk
// would be applied here, and not on the others. Entries of the time before have no checksum and are taken as they are.
type checkedLogs struct{ raft.LogStore }

// checksumMark begins what is kept with an entry: a version, so that it can change.
const checksumMark = 'c'

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum of an entry is over all that is applied of it.
func checksum(l *raft.Log) []byte {
	head := binary.BigEndian.AppendUint64(nil, l.Index)
	head = binary.BigEndian.AppendUint64(head, l.Term)
	head = append(head, byte(l.Type))
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, l.Data)
	return binary.BigEndian.AppendUint32([]byte{checksumMark}, sum)
}

// GetLog implements raft.LogStore. An entry that is not as it was written is an error.
func (s checkedLogs) GetLog(index uint64, l *raft.Log) error {
	if err := s.LogStore.GetLog(index, l); err != nil {
		return err
	}
	if kept := l.Extensions; len(kept) > 0 && kept[0] == checksumMark && string(kept) != string(checksum(l)) {
		return fmt.Errorf("entry %d is not as it was written", index)
	}
	l.Extensions = nil
	return nil
}

// StoreLog implements raft.LogStore.
func (s checkedLogs) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (s checkedLogs) StoreLogs(logs []*raft.Log) error {
	kept := make([]*raft.Log, len(logs))
	for i, l := range logs {
		entry := *l // Raft uses its own meanwhile
		entry.Extensions = checksum(l)
		kept[i] = &entry
	}
	return s.LogStore.StoreLogs(kept)
}

// verify reads all entries. Of those up to after, which a snapshot has, some may not be there.
func (s checkedLogs) verify(after uint64) error {
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err != nil || first == 0 {
		return err
	}
	for i := min(first, after+1); i <= last; i++ {
		err := s.GetLog(i, &raft.Log{})
		switch {
		case !errors.Is(err, raft.ErrLogNotFound):
			if err != nil {
				return err
			}
		case i > after:
			return fmt.Errorf("entry %d is neither in it nor in a snapshot that can be read", i)
		}
	}
	return nil
}
