package elastic

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "accept the actions as they are")

// TestScenarios reads testdata/*.txt: lines that begin with ">" are events, those below it the actions they give.
// A line that begins with "#" is a remark.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var m Machine
			var got strings.Builder
			for line := range strings.Lines(string(want)) {
				switch {
				case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
					got.WriteString(line)
				case strings.HasPrefix(line, "> "):
					got.WriteString(line)
					for _, act := range m.Handle(parseEvent(t, strings.TrimSpace(line[2:]))) {
						fmt.Fprintln(&got, formatAction(act))
					}
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
		})
	}
}

// parseEvent reads
//
//	prepared | joined STEP | broke STEP [hung] [unreachable=NODE,...] | moved STEP | finished STEP | stopped STEP
//	orders [group=GENERATION rank=R world=W [planned] [formed] [relay]] [broken] [stop]
func parseEvent(t *testing.T, text string) Event {
	t.Helper()
	f := strings.Fields(text)
	step := func() (n int64) {
		if _, err := fmt.Sscan(f[1], &n); err != nil {
			t.Fatalf("event %q: %v", text, err)
		}
		return n
	}
	switch f[0] {
	case "prepared":
		return Prepared{}
	case "joined":
		return Joined{step()}
	case "broke":
		b := Broke{Step: step(), Message: "reset by peer", Hung: slices.Contains(f, "hung")}
		for _, option := range f[2:] {
			if nodes, ok := strings.CutPrefix(option, "unreachable="); ok {
				for node := range strings.SplitSeq(nodes, ",") {
					b.Unreachable = append(b.Unreachable, Unreached{Peer: Peer{Node: node}})
				}
			}
		}
		return b
	case "moved":
		return Moved{step()}
	case "finished", "stopped":
		return Done{step(), f[0] == "stopped"}
	case "orders":
		var o Orders
		for _, part := range f[1:] {
			key, value, _ := strings.Cut(part, "=")
			var err error
			switch key {
			case "group":
				_, err = fmt.Sscan(value, &o.Group.Generation)
			case "rank":
				_, err = fmt.Sscan(value, &o.Group.Rank)
			case "world":
				_, err = fmt.Sscan(value, &o.Group.World)
			case "planned":
				o.Group.Planned = true
			case "formed":
				o.Group.Formed = true
			case "relay":
				o.Group.Relay = true
			case "broken":
				o.Broken = true
			case "stop":
				o.Stop = true
			default:
				err = fmt.Errorf("unknown part %q", part)
			}
			if err != nil {
				t.Fatalf("event %q: %v", text, err)
			}
		}
		return Ordered{o}
	}
	t.Fatalf("unknown event %q", text)
	return nil
}

func formatAction(a Action) string {
	switch a := a.(type) {
	case ReportReady:
		return "report ready"
	case ReportBroken:
		hung := ""
		if a.Hung {
			hung = ", a rank hangs"
		}
		for _, u := range a.Unreachable {
			hung += fmt.Sprintf(", node %s not reached", u.Node)
		}
		return fmt.Sprintf("report broken, generation %d at step %d (%s)%s", a.Generation, a.Step, a.Message, hung)
	case Join:
		return fmt.Sprintf("join generation %d as rank %d of %d", a.Group.Generation, a.Group.Rank, a.Group.World)
	case Train:
		return "train"
	case Abort:
		return "abort: " + a.Why
	case Move:
		return "move at a step boundary"
	case Stop:
		return "stop at a step boundary"
	case End:
		if a.Stopped {
			return fmt.Sprintf("end, stopped at step %d", a.Step)
		}
		return fmt.Sprintf("end, finished at step %d", a.Step)
	}
	return fmt.Sprintf("%T", a)
}
