package elastic

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScenarios runs testdata/*.txt: an event, and the actions that it gives (go test -rewrite accepts what comes out).
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var m Machine
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for _, act := range m.Handle(parseEvent(t, d)) {
				fmt.Fprintln(&out, formatAction(act))
			}
			return out.String()
		})
	})
}

// parseEvent reads
//
//	prepared | joined STEP | broke STEP [hung] [unreachable=NODE,...] | moved STEP | finished STEP | stopped STEP
//	orders [group=GENERATION rank=R world=W [planned] [formed] [relay]] [broken] [stop]
func parseEvent(t *testing.T, d *datadriven.TestData) Event {
	t.Helper()
	step := func() (n int64) {
		if _, err := fmt.Sscan(d.CmdArgs[0].Key, &n); err != nil {
			d.Fatalf(t, "step: %v", err)
		}
		return n
	}
	switch d.Cmd {
	case "prepared":
		return Prepared{}
	case "joined":
		return Joined{step()}
	case "broke":
		b := Broke{Step: step(), Message: "reset by peer", Hung: d.HasArg("hung")}
		var nodes string
		if d.MaybeScanArgs(t, "unreachable", &nodes) {
			for node := range strings.SplitSeq(nodes, ",") {
				b.Unreachable = append(b.Unreachable, Unreached{Peer: Peer{Node: node}})
			}
		}
		return b
	case "moved":
		return Moved{step()}
	case "finished", "stopped":
		return Done{step(), d.Cmd == "stopped"}
	case "orders":
		for _, a := range d.CmdArgs {
			if !slices.Contains([]string{"group", "rank", "world", "planned", "formed", "relay", "broken", "stop"}, a.Key) {
				d.Fatalf(t, "unknown part %q", a.Key)
			}
		}
		o := Orders{Broken: d.HasArg("broken"), Stop: d.HasArg("stop")}
		o.Group.Planned, o.Group.Formed, o.Group.Relay = d.HasArg("planned"), d.HasArg("formed"), d.HasArg("relay")
		d.MaybeScanArgs(t, "group", &o.Group.Generation)
		d.MaybeScanArgs(t, "rank", &o.Group.Rank)
		d.MaybeScanArgs(t, "world", &o.Group.World)
		return Ordered{o}
	}
	d.Fatalf(t, "unknown event %q", d.Cmd)
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
