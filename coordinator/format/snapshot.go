package format

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	snapshotFormat = 1
	// recordLimit is the largest record of a snapshot in bytes: a row that came in one command, and what it has grown by.
	recordLimit = 4 * CommandLimit
)

// Write writes a view in the format of snapshot.proto. Equal states give equal bytes.
func Write(w io.Writer, v *state.View) error {
	s := &snapshotWriter{w: bufio.NewWriter(w)}
	level := int32(0)
	if v.Level() > schema.Base {
		level = int32(v.Level()) //nolint:gosec // one a release
	}
	s.put(&tandemv1.SnapshotRecord{Record: &tandemv1.SnapshotRecord_Header{
		Header: &tandemv1.SnapshotHeader{Format: snapshotFormat, Index: v.Index(), Level: level},
	}})
	for _, row := range schema.Rows() {
		for _, r := range v.Rows(row) {
			rec := &tandemv1.SnapshotRecord{}
			rec.ProtoReflect().Set(row.Record, protoreflect.ValueOfMessage(r.ProtoReflect()))
			s.put(rec)
		}
	}
	s.put(&tandemv1.SnapshotRecord{Record: &tandemv1.SnapshotRecord_End{End: &tandemv1.SnapshotEnd{Records: s.records}}})
	if s.err == nil {
		s.err = s.w.Flush()
	}
	if s.err != nil {
		return fmt.Errorf("write a snapshot: %w", s.err)
	}
	return nil
}

type snapshotWriter struct {
	w       *bufio.Writer
	buf     []byte
	records int64
	err     error
}

func (s *snapshotWriter) put(r *tandemv1.SnapshotRecord) {
	if s.err != nil {
		return
	}
	// Deterministic: maps are written in the order of their keys.
	s.buf, s.err = proto.MarshalOptions{Deterministic: true}.MarshalAppend(s.buf[:0], r)
	if s.err != nil {
		return
	}
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(s.buf)))
	if _, s.err = s.w.Write(length[:n]); s.err != nil {
		return
	}
	_, s.err = s.w.Write(s.buf)
	s.records++
}

// Restore replaces the state by a snapshot. One that is torn, corrupt, out of order or of another format is refused
// with ErrCorrupt, and the state stays what it was.
func Restore(s *state.State, r io.Reader) error {
	tx := s.Replace()
	if err := load(tx, bufio.NewReader(r)); err != nil {
		tx.Abort()
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	return nil
}

func load(tx *state.Tx, r *bufio.Reader) error {
	first, err := readRecord(r)
	if err != nil {
		return err
	}
	if first.GetHeader().GetFormat() != snapshotFormat {
		return fmt.Errorf("%w: no header of format %d", ErrCorrupt, snapshotFormat)
	}
	if level := first.GetHeader().GetLevel(); int(level) > schema.Known {
		return fmt.Errorf("%w: it knows feature level %d, and the snapshot has %d", ErrLevel, schema.Known, level)
	}
	tx.SetIndex(first.GetHeader().GetIndex())
	last := position{}
	for records := int64(1); ; records++ {
		rec, err := readRecord(r)
		if err != nil {
			return err
		}
		if end := rec.GetEnd(); end != nil {
			if end.GetRecords() != records {
				return fmt.Errorf("%w: %d records, its end says %d", ErrCorrupt, records, end.GetRecords())
			}
			if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
				return fmt.Errorf("%w: bytes after the end", ErrCorrupt)
			}
			return nil
		}
		here, row := rowOf(rec)
		if row == nil || !last.before(here) {
			return fmt.Errorf("%w: record %d is out of order", ErrCorrupt, records)
		}
		last = here
		tx.Load(state.Upgraded(row))
	}
}

// position is where a record stands in a snapshot.
type position struct {
	field int
	id    string
}

func (p position) before(q position) bool {
	return p.field < q.field || p.field == q.field && p.id < q.id
}

// rowOf returns the row of a record and its position; nil for one that is none.
func rowOf(rec *tandemv1.SnapshotRecord) (position, proto.Message) {
	m := rec.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("record"))
	if f == nil || rec.GetHeader() != nil {
		return position{}, nil
	}
	row := m.Get(f).Message().Interface()
	return position{field: int(f.Number()), id: state.RowID(row)}, row
}

func readRecord(r *bufio.Reader) (*tandemv1.SnapshotRecord, error) {
	length, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, fmt.Errorf("%w: torn: %w", ErrCorrupt, err)
	}
	if length > recordLimit {
		return nil, fmt.Errorf("%w: a record of %d bytes, the limit is %d", ErrCorrupt, length, recordLimit)
	}
	// Grown as bytes come, so that a wrong length costs no more memory than there are bytes.
	buf, err := io.ReadAll(io.LimitReader(r, int64(length)))
	if err != nil {
		return nil, fmt.Errorf("read a record: %w", err)
	}
	if uint64(len(buf)) != length {
		return nil, fmt.Errorf("%w: torn: %w", ErrCorrupt, io.ErrUnexpectedEOF)
	}
	rec := &tandemv1.SnapshotRecord{}
	if err := proto.Unmarshal(buf, rec); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if what := schema.UnknownField(rec); what != "" {
		return nil, fmt.Errorf("%w: unknown %s", ErrCorrupt, what)
	}
	if rec.GetRecord() == nil {
		return nil, fmt.Errorf("%w: a record of no kind", ErrCorrupt)
	}
	return rec, nil
}
