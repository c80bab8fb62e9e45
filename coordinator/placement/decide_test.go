package placement

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"tandem.dev/coordinator/fsm/fsmtest"
	"tandem.dev/coordinator/id"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// silence is when nothing is heard of any trial.
func silence(string, int64) *tandemv1.Progress { return nil }

// TestGrants: what fits is granted, whole and once; a paused job is not.
func TestGrants(t *testing.T) {
	w := fsmtest.New(t)
	j1, t1 := fsmtest.Job("j1", 3)
	j2, t2 := fsmtest.Job("j2", 9)
	w.Put(fsmtest.Node("n1", 2), fsmtest.Node("n2", 2), j1, t1, j2, t2)
	plan := Decide(w.View(), silence, fsmtest.T0, id.New).Plan
	if len(plan.GetAllocations()) != 1 || plan.GetAllocations()[0].GetGeneration() != 0 || Explain(w.View(), silence, fsmtest.T0)["j2t"].GetCode() != tandemv1.Reason_CODE_SLOTS_TOO_FEW {
		t.Fatalf("plan %v", plan)
	}
	if n := len(plan.GetAllocations()[0].GetMembers()); n != 3 {
		t.Errorf("%d members", n)
	}
	res, err := w.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_ApplyPlan{ApplyPlan: plan}})
	if err != nil || anyRefused(res) {
		t.Fatalf("%v %v", res, err)
	}
	if again := Decide(w.View(), silence, fsmtest.T0, id.New).Plan; again != nil {
		t.Errorf("the plan after the plan is %v", again)
	}
	// A paused job is not placed.
	j3, t3 := fsmtest.Job("j3", 1)
	j3.Intent = tandemv1.JobIntent_JOB_INTENT_PAUSE
	w.Put(j3, t3)
	if again := Decide(w.View(), silence, fsmtest.T0, id.New).Plan; again != nil {
		t.Errorf("a paused job is planned: %v", again)
	}
}

// TestOnePicture: no slot is in two parts of a decision, all of it is carried out, and then there is nothing more to decide.
func TestOnePicture(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := fsmtest.New(t)
		for i := range rapid.IntRange(1, 4).Draw(rt, "nodes") {
			w.Put(fsmtest.Node(fmt.Sprint("n", i), rapid.IntRange(1, 3).Draw(rt, "slots")))
		}
		for i := range rapid.IntRange(0, 4).Draw(rt, "jobs") {
			j, trial := fsmtest.Job(fmt.Sprint("j", i), rapid.Int32Range(1, 3).Draw(rt, "workers"))
			w.Put(j, trial)
		}
		for i := range rapid.IntRange(0, 3).Draw(rt, "deployments") {
			d := deploy(1, rapid.Int32Range(1, 3).Draw(rt, "replicas"))
			d.Name = fmt.Sprint("m", i)
			w.Put(d)
		}
		for pass := range 2 {
			decided := Decide(w.View(), silence, w.Now, id.New)
			taken := map[string]bool{}
			take := func(node, slot string) {
				if at := node + "/" + slot; taken[at] {
					rt.Fatalf("%s is given twice", at)
				} else {
					taken[at] = true
				}
			}
			for _, a := range decided.Plan.GetAllocations() {
				for _, m := range a.GetMembers() {
					take(m.GetNodeId(), m.GetSlotId())
				}
			}
			for _, r := range decided.Reforms {
				for _, m := range r.GetAdd() {
					take(m.GetNodeId(), m.GetSlotId())
				}
			}
			for _, r := range decided.Rollouts {
				for _, p := range r.GetPlace() {
					take(p.GetNodeId(), p.GetSlotId())
				}
			}
			if pass > 0 && len(decided.Commands()) > 0 {
				rt.Fatalf("decided once more: %v", decided.Commands())
			}
			for _, c := range decided.Commands() {
				if res, err := w.Propose(t.Context(), c); err != nil || anyRefused(res) {
					rt.Fatalf("%v: %v %v", c, res, err)
				}
			}
		}
	})
}
