package fsm_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestEntriesOfVersionsToCome: one that may be ignored is skipped, any other ends the coordinator and says why.
func TestEntriesOfVersionsToCome(t *testing.T) {
	strange := func(level int32, ignorable bool) []byte {
		cmd := &tandemv1.Command{Time: &timestamppb.Timestamp{Seconds: 1}, Level: level, Ignorable: ignorable}
		cmd.ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0xf0, 0x04, 1})
		b, err := proto.Marshal(cmd)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, tc := range map[string]struct {
		data []byte
		want error // nil: it is skipped
		says string
	}{
		"ignorable":      {strange(schema.Known+1, true), nil, ""},
		"level to come":  {strange(schema.Known+1, false), format.ErrLevel, "start a newer version"},
		"no level":       {strange(0, false), format.ErrCorrupt, "unknown field 9999 of Command"},
		"its level only": {strange(schema.Known, false), format.ErrCorrupt, "unknown field 9999 of Command"},
	} {
		t.Run(name, func(t *testing.T) {
			s := state.New()
			var stopped error
			m := fsm.New(s, func(err error) { stopped = err })
			before := records(t, snapshotOf(t, s))
			answer := m.Apply(&raft.Log{Index: 7, Data: tc.data})
			if tc.want == nil {
				if res, ok := answer.(*tandemv1.Result); stopped != nil || !ok || res.GetIndex() != 7 || s.Index() != 7 {
					t.Errorf("answer %v, stopped %v, index %d", answer, stopped, s.Index())
				}
				if after := records(t, snapshotOf(t, s)); len(after) != len(before) {
					t.Errorf("it left rows: %v", after)
				}
				return
			}
			poison := (*fsm.Poison)(nil)
			if !errors.Is(stopped, tc.want) || !errors.As(stopped, &poison) || !strings.Contains(stopped.Error(), tc.says) {
				t.Fatalf("stopped with %v", stopped)
			}
			if poison.Index != 7 || poison.SHA256 != format.Digest(tc.data) {
				t.Errorf("names entry %d, %s", poison.Index, poison.SHA256)
			}
		})
	}
}

// TestNothingAboveTheLevelIsWritten: what a snapshot holds is of the cluster's level, so that one of the release before reads it.
func TestNothingAboveTheLevelIsWritten(t *testing.T) {
	raise := &tandemv1.Command{Command: &tandemv1.Command_RaiseLevel{RaiseLevel: &tandemv1.RaiseLevel{Level: 2}}}
	create := &tandemv1.Command{Command: &tandemv1.Command_CreateCluster{CreateCluster: &tandemv1.CreateCluster{Cluster: &tandemv1.Cluster{Id: "cluster-1"}}}}
	quarantine := &tandemv1.Command{Command: &tandemv1.Command_Quarantine{Quarantine: &tandemv1.Quarantine{Sha256: "ab"}}}
	s, m := machine(t)
	for i, step := range []struct {
		cmd         *tandemv1.Command
		level, rows int
	}{{create, 1, 0}, {quarantine, 1, 0}, {raise, 2, 0}, {quarantine, 2, 1}} {
		step.cmd.Time = &timestamppb.Timestamp{Seconds: int64(i)}
		m.Apply(entry(t, uint64(i+1), step.cmd))
		if got := s.View().Level(); got != step.level {
			t.Errorf("after step %d the cluster is at level %d, want %d", i, got, step.level)
		}
		if got := len(s.View().Quarantined()); got != step.rows {
			t.Errorf("after step %d there are %d rows, want %d", i, got, step.rows)
		}
		for _, rec := range records(t, snapshotOf(t, s)) {
			if got := schema.Level(rec); got > step.level {
				t.Errorf("after step %d the snapshot has level %d in %v", i, got, rec)
			}
		}
	}
	if header := records(t, snapshotOf(t, s))[0].GetHeader(); header.GetLevel() != 2 {
		t.Errorf("header %v", header)
	}
}

// TestCheckRefusesQuarantine: only an operator writes one, into the log itself.
func TestCheckRefusesQuarantine(t *testing.T) {
	data := entry(t, 1, &tandemv1.Command{Time: &timestamppb.Timestamp{}, Command: &tandemv1.Command_Quarantine{Quarantine: &tandemv1.Quarantine{}}}).Data
	if err := fsm.Check(state.New(), data); !errors.Is(err, format.ErrCorrupt) {
		t.Errorf("a proposed quarantine: %v", err)
	}
}
