package engine

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/fault"
)

// pair is a training on two ranks with all that has state or randomness.
const pair = `{name: p, dataset: d, model: {cnn: {channels: [8, 8], hidden: [16], dropout: 0.3, norm: group}}, resources: {workers: 2},
	training: {batch: 100, steps: 40, seed: 5, optimizer: {name: adamw, lr: 0.01}, schedule: {name: cosine, warmup_steps: 4}}, checkpoint: {every_steps: 10}}`

func isBroken(generation int64) func(*tandemv1.EngineReport) bool {
	return func(r *tandemv1.EngineReport) bool { return r.GetBroken() != nil && r.GetGeneration() == generation }
}

func isReady(r *tandemv1.EngineReport) bool { return r.GetReady() != nil }

// same fails the test unless two checkpoints hold the same bits.
func same(t *testing.T, got, want []safetensors.Tensor) {
	t.Helper()
	if len(got) != len(want) || len(got) < 4 {
		t.Fatalf("%d tensors, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Name != want[i].Name || !bytes.Equal(got[i].Data, want[i].Data) {
			t.Errorf("%s differs from %s of the undisturbed training", got[i].Name, want[i].Name)
		}
	}
}

// A rank breaks at each of the named points. The other goes on in the same process, a new one takes the state from it, and
// the end is that of an undisturbed training, bit for bit.
func TestRankBreaksAtEachPoint(t *testing.T) {
	j := training{trial: trial(t, "-whole"), spec: parse(t, pair), generation: 1}
	_, want := final(t, j.finish(t), "alloc-1/0")
	for _, broken := range []string{
		"forward:7:kill", "backward:8:kill", "reduce:9:kill", "agreed:10:kill", "applied:11:kill", "sync:0:kill", "upload:10:kill", "reduce:13:stop", "join:0:kill", "join:0:stop",
	} {
		t.Run(broken, func(t *testing.T) {
			j := training{trial: trial(t, ""), spec: parse(t, pair), generation: 1}
			a := newAgent(t)
			survivor := a.start(j.task(t, 0))
			victim := a.start(j.task(t, 1), fault.Variable+"="+broken)
			begin := time.Now()
			if bytes.HasSuffix([]byte(broken), []byte("stop")) {
				a.await("alloc-1/0", "a broken group", isBroken(1))
				// Who does not come to meet the others is not known to hang: all are asked, and have time to answer.
				if r := a.await("alloc-1/0", "a hung rank", isBroken(1)); r.GetBroken().GetHung() == strings.HasPrefix(broken, "join") {
					t.Errorf("it says wrongly whether a rank hangs: %v", r)
				}
				_ = victim.cmd.Process.Kill() // as its agent does
			}
			if code := victim.wait(t); code != -1 {
				t.Fatalf("the victim ended with %d", code)
			}
			if broken == "join:0:kill" { // the group is not formed yet: the coordinator ends the attempt
				a.command("alloc-1/0", &tandemv1.ControlResponse{Command: &tandemv1.ControlResponse_Break{Break: &tandemv1.BreakCommand{Generation: 1}}})
			}
			at := a.await("alloc-1/0", "a broken group", isBroken(1))
			t.Logf("noticed %v after the start, at step %d: %s", time.Since(begin).Round(time.Millisecond), at.GetBroken().GetStep(), at.GetBroken().GetMessage())
			replacement := j.task(t, 2)
			third := a.start(replacement)
			a.await("alloc-1/2", "that it is ready", isReady)
			a.group(2, false, "alloc-1/0", "alloc-1/2")
			for id, p := range map[string]*process{"alloc-1/0": survivor, "alloc-1/2": third} {
				if code := p.wait(t); code != 0 || a.last(id).GetFinished() == nil {
					t.Fatalf("%s ended with %d: %v", id, code, a.last(id))
				}
			}
			last, got := final(t, a, "alloc-1/0")
			if last.GetStep() != 40 || last.GetGeneration() != 2 {
				t.Errorf("the last checkpoint is %v", last)
			}
			same(t, got, want)
		})
	}
}

// Ranks come and go as planned: nothing is done again, and the process that is taken out ends.
func TestGroupGrowsAndShrinks(t *testing.T) {
	a, ranks := running(t)
	j := training{trial: trial(t, ""), spec: parse(t, endless), generation: 1}
	third := a.start(j.task(t, 2))
	a.await("alloc-1/2", "that it is ready", isReady)
	a.group(2, true, "alloc-1/0", "alloc-1/1", "alloc-1/2")
	formed := func(generation int64) func(*tandemv1.EngineReport) bool {
		return func(r *tandemv1.EngineReport) bool { return r.GetFormed() != nil && r.GetGeneration() == generation }
	}
	grown := a.await("alloc-1/0", "the second group", formed(2))
	a.group(3, true, "alloc-1/0", "alloc-1/2")
	a.command("alloc-1/1", &tandemv1.ControlResponse{Command: &tandemv1.ControlResponse_Group{Group: &tandemv1.ProcessGroup{
		Generation: 3, Rank: -1, WorldSize: 2, Planned: true,
	}}})
	shrunk := a.await("alloc-1/0", "the third group", formed(3))
	a.command("alloc-1/1", &tandemv1.ControlResponse{Command: &tandemv1.ControlResponse_Group{Group: &tandemv1.ProcessGroup{
		Generation: 3, Rank: -1, WorldSize: 2, Planned: true, Formed: true,
	}}})
	if code := ranks[1].wait(t); code != 0 || a.last("alloc-1/1").GetStopped() == nil {
		t.Fatalf("the rank that was taken out ended with %d: %v", code, a.last("alloc-1/1"))
	}
	if left := a.last("alloc-1/1").GetStopped().GetStep(); left != shrunk.GetFormed().GetStep() || grown.GetFormed().GetStep() == 0 {
		t.Errorf("the group grew at step %d; a rank left at step %d, the others went on from %d", grown.GetFormed().GetStep(), left, shrunk.GetFormed().GetStep())
	}
	for _, id := range []string{"alloc-1/0", "alloc-1/1", "alloc-1/2"} {
		for _, r := range a.reports[id] {
			if r.GetBroken() != nil {
				t.Errorf("%s reports a broken group: %v", id, r)
			}
		}
	}
	a.stop("alloc-1/2")
	for rank, p := range map[int]*process{0: ranks[0], 2: third} {
		if code := p.wait(t); code != 0 {
			t.Errorf("member %d ended with %d", rank, code)
		}
	}
}

// A newcomer hangs on its way to the group that a rank which trained alone grows into: that one waits for it no longer than others would.
func TestNewcomerDoesNotCome(t *testing.T) {
	a := newAgent(t)
	j := training{trial: trial(t, ""), spec: parse(t, strings.Replace(endless, "workers: 2", "workers: 1, max: 2", 1)), generation: 1}
	first := a.start(j.task(t, 0))
	a.await("alloc-1/0", "a group of its own", func(r *tandemv1.EngineReport) bool { return r.GetFormed() != nil })
	second := a.start(j.task(t, 1), fault.Variable+"=join:0:stop")
	a.await("alloc-1/1", "that it is ready", isReady)
	a.group(2, true, "alloc-1/0", "alloc-1/1")
	if b := a.await("alloc-1/0", "a broken group", isBroken(2)).GetBroken(); b.GetHung() || b.GetStep() == 0 {
		t.Errorf("it says %v", b)
	}
	_ = second.cmd.Process.Kill() // as its agent does
	second.wait(t)
	a.group(3, false, "alloc-1/0")
	a.await("alloc-1/0", "a group of its own again", func(r *tandemv1.EngineReport) bool { return r.GetFormed() != nil && r.GetGeneration() == 3 })
	a.stop("alloc-1/0")
	if code := first.wait(t); code != 0 {
		t.Errorf("it ended with %d: %v", code, a.last("alloc-1/0"))
	}
}

// The deadline of a step finds a rank that hangs; the others do not wait for its end.
func TestHungRankIsLeftBehind(t *testing.T) {
	a, ranks := running(t)
	if err := ranks[1].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r := a.await("alloc-1/0", "a broken group", isBroken(1))
	if !r.GetBroken().GetHung() {
		t.Errorf("it does not say that a rank hangs: %v", r)
	}
	a.group(2, false, "alloc-1/0")
	a.await("alloc-1/0", "a group of its own", func(r *tandemv1.EngineReport) bool { return r.GetFormed() != nil && r.GetGeneration() == 2 })
	// It wakes up, finds its group gone, and says so, which nobody takes any more; it joins nothing.
	if err := ranks[1].cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	a.await("alloc-1/1", "that its group is gone", isBroken(1))
	a.stop("alloc-1/0")
	if code := ranks[0].wait(t); code != 0 {
		t.Errorf("the survivor ended with %d: %v", code, a.last("alloc-1/0"))
	}
	if err := ranks[1].cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ranks[1].wait(t)
	if n := len(a.checkpoints("alloc-1/1")); n != 0 {
		t.Errorf("the rank that was left behind committed %s", fmt.Sprint(a.checkpoints("alloc-1/1")))
	}
}

// A rank hangs in the middle of giving its state to another, which finds that out as in a step, not after as long as a whole
// state may take.
func TestRankFallsSilentInTheMiddleOfItsState(t *testing.T) {
	wide := `{name: w, dataset: d, model: {mlp: {hidden: [1024, 1024]}}, resources: {workers: 2}, training: {batch: 50, epochs: 100000, optimizer: {name: adam}}}`
	j := training{trial: trial(t, ""), spec: parse(t, wide), generation: 1}
	a := newAgent(t)
	giver := a.start(j.task(t, 0), fault.Variable+"=transfer:3:stop")
	victim := a.start(j.task(t, 1), fault.Variable+"=forward:5:kill")
	if code := victim.wait(t); code != -1 {
		t.Fatalf("the victim ended with %d", code)
	}
	a.await("alloc-1/0", "a broken group", isBroken(1))
	taker := a.start(j.task(t, 2))
	a.await("alloc-1/2", "that it is ready", isReady)
	a.group(2, false, "alloc-1/0", "alloc-1/2")
	if r := a.await("alloc-1/2", "a broken group", isBroken(2)); !r.GetBroken().GetHung() {
		t.Errorf("it does not say that a rank hangs: %v", r)
	}
	for _, p := range []*process{giver, taker} {
		if err := p.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		p.wait(t)
	}
}
