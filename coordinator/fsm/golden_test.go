package fsm_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

var update = flag.Bool("update", false, "accept what the scenarios give")

// parseCommand reads one line of a scenario: "second actor[!request] command {fields as JSON}".
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

func readScenario(t *testing.T, path string) (lines []string, entries []*raft.Log) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		cmd, err := parseCommand(line)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		lines = append(lines, line)
		entries = append(entries, entry(t, uint64(len(entries)+1), cmd))
	}
	return lines, entries
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
	if err := fsm.Write(&b, s.View()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// oneLine writes a message as JSON with the same bytes each time.
func oneLine(t testing.TB, m proto.Message) string {
	t.Helper()
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// describe writes the state: what each node should run, then every row, taken from the snapshot itself.
func describe(t testing.TB, s *state.State) string {
	t.Helper()
	var b strings.Builder
	for _, n := range s.View().Nodes() {
		for _, task := range state.Desired(s.View(), n.GetId()) {
			fmt.Fprintf(&b, "desired %s %s\n", n.GetId(), oneLine(t, task))
		}
	}
	for _, rec := range records(t, snapshotOf(t, s)) {
		fmt.Fprintf(&b, "%s\n", oneLine(t, rec))
	}
	return b.String()
}

func TestGoldenLogs(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.log")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".log"), func(t *testing.T) {
			lines, entries := readScenario(t, path)
			s, m := machine(t)
			var got strings.Builder
			for i, e := range entries {
				fmt.Fprintf(&got, "> %s\n%s\n", lines[i], oneLine(t, m.Apply(e).(*tandemv1.Result)))
			}
			got.WriteString("\n" + describe(t, s))
			golden := strings.TrimSuffix(path, ".log") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
				t.Errorf("the state differs from %s; if it is right, run the test with -update (-want +got):\n%s", golden, diff)
			}
			sameHoweverApplied(t, entries, snapshotOf(t, s))
		})
	}
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
