package fsm_test

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// parseCommand reads a command on one line: "second actor[!request] command {fields as JSON}".
func parseCommand(line string) (*tandemv1.Command, error) {
	parts := strings.SplitN(line, " ", 4)
	if len(parts) != 4 {
		return nil, fmt.Errorf("not 4 parts: %q", line)
	}
	second, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return nil, err
	}
	cmd := &tandemv1.Command{}
	if err := protojson.Unmarshal([]byte(fmt.Sprintf(`{%q: %s}`, parts[2], parts[3])), cmd); err != nil {
		return nil, fmt.Errorf("%q: %w", line, err)
	}
	cmd.Actor, cmd.RequestId, _ = strings.Cut(parts[1], "!")
	cmd.Time = &timestamppb.Timestamp{Seconds: second}
	return cmd, nil
}

// scenarioCommand reads a directive of a scenario: "command at=SECOND by=ACTOR[!REQUEST]", and its fields as prototext.
func scenarioCommand(t *testing.T, d *datadriven.TestData) *tandemv1.Command {
	t.Helper()
	cmd := &tandemv1.Command{}
	if err := prototext.Unmarshal([]byte(d.Cmd+" {"+d.Input+"}"), cmd); err != nil {
		d.Fatalf(t, "%v", err)
	}
	var actor string
	cmd.Time = &timestamppb.Timestamp{}
	d.ScanArgs(t, "at", &cmd.Time.Seconds)
	d.ScanArgs(t, "by", &actor)
	cmd.Actor, cmd.RequestId, _ = strings.Cut(actor, "!")
	return cmd
}

func entry(t testing.TB, index uint64, cmd *tandemv1.Command) *raft.Log {
	t.Helper()
	data, err := proto.Marshal(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return &raft.Log{Index: index, Data: data}
}

// machine is a state machine whose end fails the test.
func machine(t testing.TB) (*state.State, *fsm.FSM) {
	s := state.New()
	return s, fsm.New(s, func(err error) { t.Fatalf("the state machine stopped: %v", err) })
}

func snapshotOf(t testing.TB, s *state.State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := format.Write(&b, s.View()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// describe writes the state: what each node should run, then every row, taken from the snapshot itself.
func describe(t testing.TB, s *state.State) string {
	t.Helper()
	var b strings.Builder
	for _, n := range s.View().Nodes() {
		for _, task := range state.Desired(s.View(), n.GetId()) {
			fmt.Fprintf(&b, "%s runs {\n%s}\n", n.GetId(), text(task.ProtoReflect(), "  "))
		}
	}
	for _, rec := range records(t, snapshotOf(t, s)) {
		b.WriteString(text(rec.ProtoReflect(), ""))
	}
	return b.String()
}

// TestGoldenLogs runs testdata/*.txt: commands with what they give, and last the state (go test -rewrite accepts what comes out).
func TestGoldenLogs(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s, m := machine(t)
		var entries []*raft.Log
		told := false
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "state" {
				told = true
				return describe(t, s)
			}
			told = false
			e := entry(t, uint64(len(entries)+1), scenarioCommand(t, d))
			entries = append(entries, e)
			return text(m.Apply(e).(*tandemv1.Result).ProtoReflect(), "")
		})
		if !told {
			t.Error("it does not end with the state")
		}
		sameHoweverApplied(t, entries, snapshotOf(t, s))
	})
}

// sameHoweverApplied applies a log in one batch, and broken off by a snapshot after each entry.
func sameHoweverApplied(t testing.TB, entries []*raft.Log, want []byte) {
	t.Helper()
	s, m := machine(t)
	m.ApplyBatch(entries)
	if !bytes.Equal(want, snapshotOf(t, s)) {
		t.Error("the log applied in one batch gives another state")
	}
	before, first := machine(t)
	for cut, e := range entries {
		first.Apply(e)
		after, second := machine(t)
		if err := second.Restore(io.NopCloser(bytes.NewReader(snapshotOf(t, before)))); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries[cut+1:] {
			second.Apply(e)
		}
		if !bytes.Equal(want, snapshotOf(t, after)) {
			t.Errorf("a snapshot after entry %d and the rest of the log give another state", e.Index)
		}
	}
}
