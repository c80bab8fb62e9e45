package fsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// records takes a snapshot apart.
func records(t testing.TB, snapshot []byte) []*tandemv1.SnapshotRecord {
	t.Helper()
	var all []*tandemv1.SnapshotRecord
	for r := bytes.NewReader(snapshot); r.Len() > 0; {
		length, err := binary.ReadUvarint(r)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, length)
		if _, err := r.Read(buf); err != nil && length > 0 {
			t.Fatal(err)
		}
		rec := &tandemv1.SnapshotRecord{}
		if err := proto.Unmarshal(buf, rec); err != nil {
			t.Fatal(err)
		}
		all = append(all, rec)
	}
	return all
}

// joined puts a snapshot together.
func joined(t testing.TB, all ...*tandemv1.SnapshotRecord) []byte {
	t.Helper()
	var b []byte
	for _, rec := range all {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		b = append(binary.AppendUvarint(b, uint64(len(data))), data...)
	}
	return b
}

// sample is the snapshot of a state with rows of most kinds.
func sample(t testing.TB) []byte {
	t.Helper()
	s, m := machine(t)
	for i, line := range []string{
		`1 op create_cluster {"cluster": {"id": "cluster-1"}}`,
		`2 node-a register_node {"node": {"id": "node-a", "incarnation": 1, "slots": [{"id": "cpu0"}]}}`,
		`3 ann create_dataset {"dataset": {"id": "data-1", "name": "digits", "prefix": "datasets/data-1", "rows": {"train": 8, "test": 1, "validation": 1}}}`,
		`4 ann!r1 create_job {"job": {"id": "job-1", "kind": "JOB_KIND_TRAIN", "spec": {"dataset_id": "data-1", "resources": {"workers": 1}}}, "trial": {"id": "trial-1"}}`,
		`5 dispatch apply_plan {"allocations": [{"id": "alloc-1", "trial_id": "trial-1", "members": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`,
	} {
		cmd, err := parseCommand(line)
		if err != nil {
			t.Fatal(err)
		}
		if r := m.Apply(entry(t, uint64(i+1), cmd)).(*tandemv1.Result); r.GetRefusal() != 0 || len(r.GetPartWhys()) > 0 && r.GetPartWhys()[0].GetCode() != 0 {
			t.Fatalf("%s: %v", line, r)
		}
	}
	return snapshotOf(t, s)
}

func TestBadSnapshotsAreRefused(t *testing.T) {
	good := sample(t)
	all := records(t, good)
	last := len(all) - 1
	node := all[2]
	wrongFormat := proto.Clone(all[0]).(*tandemv1.SnapshotRecord)
	wrongFormat.GetHeader().Format = 2
	strange := proto.Clone(node).(*tandemv1.SnapshotRecord)
	strange.GetNode().ProtoReflect().SetUnknown([]byte{0xf8, 0x3f, 1})
	cases := map[string][]byte{
		"empty":             nil,
		"no header":         joined(t, all[1:]...),
		"another format":    joined(t, append([]*tandemv1.SnapshotRecord{wrongFormat}, all[1:]...)...),
		"two headers":       joined(t, append([]*tandemv1.SnapshotRecord{all[0]}, all...)...),
		"a row twice":       joined(t, append(append([]*tandemv1.SnapshotRecord{}, all[:3]...), all[2:]...)...),
		"a row missing":     joined(t, append(append([]*tandemv1.SnapshotRecord{}, all[:2]...), all[3:]...)...),
		"out of order":      joined(t, append([]*tandemv1.SnapshotRecord{all[0], all[2], all[1]}, all[3:]...)...),
		"no end":            joined(t, all[:last]...),
		"bytes after":       append(bytes.Clone(good), 0),
		"unknown field":     joined(t, append([]*tandemv1.SnapshotRecord{all[0], all[1], strange}, all[3:]...)...),
		"record of no kind": joined(t, all[0], &tandemv1.SnapshotRecord{}),
		"huge length":       binary.AppendUvarint(nil, 1<<40),
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			s := state.New()
			if err := format.Restore(s, bytes.NewReader(good)); err != nil {
				t.Fatal(err)
			}
			if err := format.Restore(s, bytes.NewReader(data)); !errors.Is(err, format.ErrCorrupt) {
				t.Errorf("error %v, want ErrCorrupt", err)
			}
			if !bytes.Equal(good, snapshotOf(t, s)) {
				t.Error("the refused snapshot has changed the state")
			}
		})
	}
	for n := range good {
		if err := format.Restore(state.New(), bytes.NewReader(good[:n])); !errors.Is(err, format.ErrCorrupt) {
			t.Errorf("torn after %d of %d bytes: error %v", n, len(good), err)
		}
	}
}

func FuzzRestore(f *testing.F) {
	good := sample(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte{})
	f.Add(binary.AppendUvarint(nil, 1<<62))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := state.New()
		if err := format.Restore(s, bytes.NewReader(data)); err != nil {
			if !errors.Is(err, format.ErrCorrupt) {
				t.Errorf("error %v is not ErrCorrupt", err)
			}
			return
		}
		again := state.New()
		written := snapshotOf(t, s)
		if err := format.Restore(again, bytes.NewReader(written)); err != nil || !bytes.Equal(written, snapshotOf(t, again)) {
			t.Errorf("what was restored cannot be written and restored again: %v", err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, cmd := range []*tandemv1.Command{
		{},
		{Time: &timestamppb.Timestamp{Seconds: 1}, Command: &tandemv1.Command_Expire{Expire: &tandemv1.Expire{}}},
		{Time: &timestamppb.Timestamp{Seconds: 1}, RequestId: "r", Command: &tandemv1.Command_ApplyReports{ApplyReports: &tandemv1.ApplyReports{
			NodeId: "node-a", Incarnation: 1, Reports: []*tandemv1.EngineReport{{EngineId: "alloc-1/0", Generation: 1, Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}}},
		}}},
	} {
		data, err := proto.Marshal(cmd)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	good := sample(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := format.Decode(data)
		if err != nil {
			if !errors.Is(err, format.ErrCorrupt) {
				t.Errorf("error %v is not ErrCorrupt", err)
			}
			return
		}
		s := state.New()
		if err := format.Restore(s, bytes.NewReader(good)); err != nil {
			t.Fatal(err)
		}
		tx := s.Begin()
		defer tx.Abort()
		if _, err := fsm.Apply(tx, s.Index()+1, cmd); err != nil {
			t.Errorf("a command that was decoded could not be applied: %v", err)
		}
	})
}

func TestUnknownEntriesStopTheNode(t *testing.T) {
	good, err := parseCommand(`1 op create_cluster {"cluster": {"id": "cluster-1"}}`)
	if err != nil {
		t.Fatal(err)
	}
	newer := proto.Clone(good).(*tandemv1.Command)
	newer.GetCreateCluster().GetCluster().ProtoReflect().SetUnknown([]byte{0xf8, 0x3f, 1})
	timeless := proto.Clone(good).(*tandemv1.Command)
	timeless.Time = nil
	for name, cmd := range map[string]*tandemv1.Command{
		"field of a newer version": newer,
		"no time":                  timeless,
		"no kind":                  {Time: good.GetTime()},
	} {
		t.Run(name, func(t *testing.T) {
			s := state.New()
			var stopped error
			m := fsm.New(s, func(err error) { stopped = err })
			answer := m.Apply(entry(t, 1, cmd))
			if !errors.Is(stopped, format.ErrCorrupt) {
				t.Errorf("stopped with %v", stopped)
			}
			if err, ok := answer.(error); !ok || !errors.Is(err, format.ErrCorrupt) {
				t.Errorf("answer %v", answer)
			}
			if _, ok := m.Apply(entry(t, 2, good)).(error); !ok || s.Index() != 0 {
				t.Error("the node went on")
			}
			if _, err := m.Snapshot(); err == nil {
				t.Error("a stopped node made a snapshot")
			}
		})
	}
}
