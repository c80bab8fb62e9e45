package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"tandem.dev/coordinator/fsm/fsmtest"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	starting = tandemv1.ReplicaState_REPLICA_STATE_STARTING
	ready    = tandemv1.ReplicaState_REPLICA_STATE_READY
	failed   = tandemv1.ReplicaState_REPLICA_STATE_FAILED
)

func deploy(version int64, replicas int32) *tandemv1.Deployment {
	return &tandemv1.Deployment{Name: "m", Version: version, VersionId: fmt.Sprint("v", version), Replicas: replicas, Pool: "default", Revision: version}
}

// served is a world with the deployment m.
type served struct{ *fsmtest.World }

func newServed(t *testing.T) served { return served{fsmtest.New(t)} }

// step is one pass and its command applied; it says what changed.
func (w served) step() (string, time.Time) {
	w.T.Helper()
	v := w.View()
	decided := Decide(v, silence, w.Now, func(string) string { return w.ID() })
	if decided.Plan != nil || len(decided.Reforms) > 0 {
		w.T.Fatalf("decided %v %v", decided.Plan, decided.Reforms)
	}
	i := slices.IndexFunc(decided.Rollouts, func(c *tandemv1.ApplyRollout) bool { return c.GetName() == "m" })
	if i < 0 {
		return "", decided.Wake
	}
	change, next := decided.Rollouts[i], decided.Wake
	var said []string
	for _, id := range change.GetRemove() {
		r, _ := v.Replica(id)
		said = append(said, fmt.Sprintf("-v%d", r.GetVersion()))
	}
	for _, p := range change.GetPlace() {
		said = append(said, fmt.Sprintf("+v%d@%s", p.GetVersion(), p.GetNodeId()))
	}
	res, err := w.Propose(w.T.Context(), &tandemv1.Command{Command: &tandemv1.Command_ApplyRollout{ApplyRollout: change}})
	if err != nil || anyRefused(res) {
		w.T.Fatalf("rollout %v: %v %v", change, res, err)
	}
	return strings.Join(said, " "), next
}

func anyRefused(res *tandemv1.Result) bool {
	return res.GetRefusal() != 0 || slices.ContainsFunc(res.GetPartWhys(), func(why *tandemv1.Reason) bool { return why.GetCode() != 0 })
}

// become brings all replicas of a version from one state to another.
func (w served) become(version int64, from, to tandemv1.ReplicaState) {
	w.T.Helper()
	for _, r := range w.S.View().ReplicasOf("m") {
		if r.GetVersion() == version && r.GetState() == from {
			r = state.Clone(r)
			r.State, r.Why = to, state.NewReason(tandemv1.Reason_CODE_TEXT, "text", "out of memory")
			w.Put(r)
		}
	}
}

func (w served) want(step string) {
	w.T.Helper()
	if got, _ := w.step(); got != step {
		w.T.Errorf("step %q, want %q", got, step)
	}
}

func (w served) reason() string {
	d, _ := w.S.View().Deployment("m")
	return say.Clause(d.GetWhy(), say.CLI)
}

func TestRolloutWithFreeSlots(t *testing.T) {
	w := newServed(t)
	w.Put(fsmtest.Node("n1", 2), fsmtest.Node("n2", 2), deploy(1, 2))
	w.want("+v1@n1 +v1@n2") // spread
	w.want("")
	w.become(1, starting, ready)
	w.want("")
	w.want("")
	if w.reason() != "" {
		t.Errorf("reason %q", w.reason())
	}
	w.Put(deploy(2, 2))
	w.want("+v2@n1 +v2@n2") // the old ones serve on
	w.want("")
	w.become(2, starting, ready)
	w.want("-v1 -v1")
	w.want("")
	scaled := deploy(2, 1)
	scaled.Revision = 3
	w.Put(scaled)
	w.want("-v2")
	w.want("")
}

func TestRolloutWithoutFreeSlots(t *testing.T) {
	w := newServed(t)
	w.Put(fsmtest.Node("n1", 1), fsmtest.Node("n2", 1), deploy(1, 2))
	w.want("+v1@n1 +v1@n2")
	w.become(1, starting, ready)
	w.step()
	w.Put(deploy(2, 2))
	w.want("-v1 +v2@n1") // one at a time
	w.want("")
	w.become(2, starting, ready)
	w.want("-v1 +v2@n2")
	w.become(2, starting, ready)
	w.want("")
	if w.reason() != "" {
		t.Errorf("reason %q", w.reason())
	}
	more := deploy(2, 3)
	more.Revision = 3
	w.Put(more)
	w.want("")
	if !strings.Contains(w.reason(), "1 of 3 replicas wait for a free slot") {
		t.Errorf("reason %q", w.reason())
	}
}

// TestReplicasLeave: replicas on a node that is drained, or on a slot that is disabled, serve until others are ready elsewhere; where no slot
// is free they serve on, until the time of the drain is over.
func TestReplicasLeave(t *testing.T) {
	w := newServed(t)
	n1 := fsmtest.Node("n1", 2)
	w.Put(n1, deploy(1, 2))
	w.want("+v1@n1 +v1@n1")
	w.become(1, starting, ready)
	w.want("")
	n1 = state.Clone(n1)
	n1.DisabledSlots = []*tandemv1.DisabledSlot{{SlotId: "cpu0"}}
	w.Put(n1)
	w.want("") // there is no other
	w.Put(fsmtest.Node("n2", 2))
	w.want("+v1@n2")
	w.want("")
	w.become(1, starting, ready)
	w.want("-v1")
	w.want("")
	n1 = state.Clone(n1)
	n1.Cordoned, n1.Draining = true, true
	w.Put(n1)
	w.want("+v1@n2")
	w.become(1, starting, ready)
	w.want("-v1")
	w.want("")
	n2 := fsmtest.Node("n2", 2)
	n2.Cordoned, n2.Draining, n2.DrainDeadline = true, true, timestamppb.New(w.Now.Add(time.Hour))
	w.Put(n2)
	w.want("")
	w.Now = w.Now.Add(59 * time.Minute)
	if _, next := w.step(); !next.Equal(n2.GetDrainDeadline().AsTime()) {
		t.Errorf("looks again at %v", next)
	}
	w.Now = w.Now.Add(time.Minute)
	w.want("-v1 -v1")
	w.want("")
	if !strings.Contains(w.reason(), "2 of 2 replicas wait for a free slot") {
		t.Errorf("reason %q", w.reason())
	}
}

// TestReplicasApart: replicas are on different nodes, and of these in different racks, where they can be; else they leave whole nodes whole,
// or in a pool that spreads take the emptiest.
func TestReplicasApart(t *testing.T) {
	node := func(id string, slots int, rack string) *tandemv1.Node {
		n := fsmtest.Node(id, slots)
		n.Labels = map[string]string{"rack": rack}
		return n
	}
	for want, policy := range map[string]*tandemv1.PoolPolicy{
		"+v1@c +v1@b +v1@a": {Name: "default", Placement: "pack", RackLabel: "rack"},
		"+v1@c +v1@a +v1@b": {Name: "default", Placement: "pack"},
		"+v1@b +v1@a +v1@c": {Name: "default", Placement: "spread"},
	} {
		w := newServed(t)
		w.Put(node("a", 3, "r1"), node("b", 4, "r2"), node("c", 2, "r1"), policy, deploy(1, 3))
		w.want(want)
	}
}

func TestFailedReplicasAreTriedAgainEverMoreSlowly(t *testing.T) {
	w := newServed(t)
	w.Put(fsmtest.Node("n1", 2), deploy(1, 1))
	var pauses []time.Duration
	for range 9 {
		w.want("+v1@n1")
		w.become(1, starting, failed)
		begin := w.Now
		for {
			got, next := w.step()
			if got != "" && !strings.HasPrefix(got, "-v1") {
				t.Fatalf("step %q before its time", got)
			}
			if got == "" && !next.IsZero() {
				w.Now = next
				break
			}
		}
		pauses = append(pauses, w.Now.Sub(begin))
		if !strings.Contains(w.reason(), "out of memory") {
			t.Errorf("reason %q", w.reason())
		}
	}
	if got, want := fmt.Sprint(pauses), "[1s 2s 4s 8s 16s 32s 1m0s 1m0s 1m0s]"; got != want {
		t.Errorf("pauses %s, want %s", got, want)
	}
	w.want("+v1@n1")
	w.become(1, starting, ready)
	w.want("-v1 -v1 -v1 -v1 -v1 -v1 -v1") // all is well: the failures are forgotten
	w.want("")
}

func TestReplicasOfALostNodeAreReplaced(t *testing.T) {
	w := newServed(t)
	w.Put(fsmtest.Node("n1", 1), fsmtest.Node("n2", 1), deploy(1, 1))
	w.want("+v1@n1")
	w.become(1, starting, ready)
	w.step()
	w.Now = w.Now.Add(time.Hour)
	if _, err := w.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_LoseNode{LoseNode: &tandemv1.LoseNode{NodeId: "n1", Incarnation: 1}}}); err != nil {
		t.Fatal(err)
	}
	w.want("+v1@n2") // at once: it had run for long
}

// TestModelThatGoesDown: that a model has no ready replica is said once, with what the last one ended by; then what it waits for is said,
// by the names of nodes; and that it has one again.
func TestModelThatGoesDown(t *testing.T) {
	w := newServed(t)
	n1, n2 := fsmtest.Node("n1", 1), fsmtest.Node("n2", 1)
	n1.Name, n2.Name = "alpha", "beta"
	trainer := &tandemv1.Replica{Id: "other", Deployment: "o", Version: 1, VersionId: "o1", NodeId: "n2", SlotId: n2.GetSlots()[0].GetId(), State: ready, CreatedAt: timestamppb.New(fsmtest.T0)}
	w.Put(n1, n2, trainer, deploy(1, 1))
	report := func(r *tandemv1.EngineReport) {
		t.Helper()
		for _, replica := range w.S.View().ReplicasOf("m") {
			if state.ReplicaLive(replica.GetState()) {
				r.EngineId = replica.GetId()
			}
		}
		c := &tandemv1.ApplyReports{NodeId: "n1", Incarnation: 1, Reports: []*tandemv1.EngineReport{r}}
		if res, err := w.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_ApplyReports{ApplyReports: c}}); err != nil || anyRefused(res) {
			t.Fatal(res, err)
		}
	}
	up := func() {
		report(&tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{}}})
	}
	fails := func() {
		report(&tandemv1.EngineReport{Report: &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: "out of memory"}}})
	}
	w.want("+v1@n1")
	fails() // none was ready yet: that is in its own event
	w.want("")
	if got := w.reason(); got != "a replica on alpha failed and is tried again: out of memory" {
		t.Errorf("reason %q", got)
	}
	w.Now = w.Now.Add(time.Minute)
	w.want("+v1@n1")
	up()
	w.want("-v1")
	w.Now = w.Now.Add(time.Hour)
	if _, err := w.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_LoseNode{LoseNode: &tandemv1.LoseNode{NodeId: "n1", Incarnation: 1}}}); err != nil {
		t.Fatal(err)
	}
	w.want("")
	if got := w.reason(); !strings.Contains(got, "free slot") {
		t.Errorf("reason %q", got)
	}
	// The pause after a failure is no reason to name it when there is no slot either.
	lost, _ := w.S.View().Node("n1")
	back := state.Clone(lost)
	back.State = tandemv1.NodeState_NODE_STATE_ALIVE
	w.Put(back)
	w.want("+v1@n1")
	fails()
	w.Put(&tandemv1.Replica{Id: "third", Deployment: "o", Version: 1, VersionId: "o1", NodeId: "n1", SlotId: n1.GetSlots()[0].GetId(), State: ready, CreatedAt: timestamppb.New(fsmtest.T0)})
	w.want("")
	if got := w.reason(); !strings.Contains(got, "free slot") {
		t.Errorf("reason %q", got)
	}
	w.Put(&tandemv1.Replica{Id: "third", Deployment: "o", Version: 1, VersionId: "o1", NodeId: "n1", SlotId: n1.GetSlots()[0].GetId(), State: failed, CreatedAt: timestamppb.New(fsmtest.T0)})
	w.Now = w.Now.Add(30 * time.Minute)
	w.want("+v1@n1")
	up()
	var got []string
	for _, e := range w.S.View().Events(0) {
		if e.GetType() == tandemv1.Event_TYPE_DEPLOYMENT_DOWN || e.GetType() == tandemv1.Event_TYPE_DEPLOYMENT_UP {
			got = append(got, e.GetLevel()+" "+say.Event(e, say.Plain))
		}
	}
	if want := []string{"warning Model m has no ready replica: node alpha was lost.", "info Model m has a ready replica again, after 30m0s."}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// TestRolloutEnds: from any start the rollout comes to rest with what was wanted, if there is room, and never has fewer
// ready than it had or than is wanted, but for one where no slot is free.
func TestRolloutEnds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newServed(t)
		slots, wanted := 0, rapid.Int32Range(1, 4).Draw(rt, "wanted")
		for i := range rapid.IntRange(1, 3).Draw(rt, "nodes") {
			n := rapid.IntRange(1, 3).Draw(rt, "slots")
			slots += n
			w.Put(fsmtest.Node(fmt.Sprint("n", i), n))
		}
		for i, n := range w.S.View().Nodes() {
			for j, s := range n.GetSlots() {
				if rapid.Bool().Draw(rt, "held") {
					w.Put(&tandemv1.Replica{Id: fmt.Sprintf("r%d%d", i, j), Deployment: "m", Version: 1, VersionId: "v1", NodeId: n.GetId(), SlotId: s.GetId(),
						State: rapid.SampledFrom([]tandemv1.ReplicaState{starting, ready, failed}).Draw(rt, "state"), CreatedAt: timestamppb.New(fsmtest.T0)})
				}
			}
		}
		w.Put(deploy(2, wanted))
		count := func() (n int) {
			for _, r := range w.S.View().ReplicasOf("m") {
				if r.GetState() == ready {
					n++
				}
			}
			return n
		}
		for i := 0; ; i++ {
			if i > 50 {
				rt.Fatal("the rollout does not end")
			}
			before := count()
			change, _ := w.step()
			if after := count(); after < min(before, int(wanted))-1 {
				rt.Fatalf("%d were ready, then %d, after %s", before, after, change)
			}
			settled := change == ""
			w.become(2, starting, ready)
			if settled && count() == min(slots, int(wanted)) {
				break
			}
		}
		for _, r := range w.S.View().ReplicasOf("m") {
			if r.GetVersion() != 2 || r.GetState() != ready {
				rt.Fatalf("left over: %v", r)
			}
		}
	})
}
