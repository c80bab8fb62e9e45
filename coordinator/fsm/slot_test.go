package fsm_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/coordinator/fsm/fsmtest"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestWhatOperatorsSayOfNodes: reasons, deadlines, labels and disabled slots are kept when the agent is started again, and when the machine has
// lost its disk; a slot that is disabled is not granted, nor one of a node without the labels that are asked for.
func TestWhatOperatorsSayOfNodes(t *testing.T) {
	w := fsmtest.New(t)
	do := func(c *tandemv1.Command) *tandemv1.Result {
		t.Helper()
		res, err := w.Propose(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	register := func(id string, incarnation int64) {
		t.Helper()
		n := fsmtest.Node(id, 2)
		n.Name, n.Address, n.Incarnation, n.State, n.StateChangedAt = "a", "10.0.0.1:1", incarnation, 0, nil
		do(&tandemv1.Command{Command: &tandemv1.Command_RegisterNode{RegisterNode: &tandemv1.RegisterNode{Node: n}}})
	}
	register("one", 1)
	for _, c := range []*tandemv1.Command{
		{Command: &tandemv1.Command_CordonNode{CordonNode: &tandemv1.CordonNode{
			NodeId: "one", Cordoned: true, Drain: true, Reason: "new disk", Deadline: durationpb.New(time.Hour),
		}}},
		{Command: &tandemv1.Command_LabelNode{LabelNode: &tandemv1.LabelNode{NodeId: "one", Labels: map[string]string{"gpu": "h100", "rack": "r1"}}}},
		{Command: &tandemv1.Command_LabelNode{LabelNode: &tandemv1.LabelNode{NodeId: "one", Labels: map[string]string{"rack": ""}}}},
		{Command: &tandemv1.Command_SetSlot{SetSlot: &tandemv1.SetSlot{NodeId: "one", SlotId: "cpu0", Disabled: true, Reason: "ECC"}}},
	} {
		if res := do(c); res.GetRefusal() != 0 {
			t.Fatal(res.GetWhy())
		}
	}
	keeps := func(id string, slots int) {
		t.Helper()
		n, _ := w.View().Node(id)
		if n.GetCordonReason() != "new disk" || !n.GetDrainDeadline().AsTime().Equal(fsmtest.T0.Add(time.Hour)) || !n.GetDraining() ||
			state.LabelText(n.GetLabels()) != "gpu=h100" || len(n.GetDisabledSlots()) != slots {
			t.Errorf("%v", n)
		}
	}
	register("one", 2)
	keeps("one", 1)
	do(&tandemv1.Command{Command: &tandemv1.Command_LoseNode{LoseNode: &tandemv1.LoseNode{NodeId: "one", Incarnation: 2}}})
	register("two", 1)
	keeps("two", 0) // its devices may be other ones
	for why, c := range map[string]*tandemv1.Command{
		"a deadline without a drain": {Command: &tandemv1.Command_CordonNode{CordonNode: &tandemv1.CordonNode{NodeId: "two", Cordoned: true, Deadline: durationpb.New(1)}}},
		"a slot that does not exist": {Command: &tandemv1.Command_SetSlot{SetSlot: &tandemv1.SetSlot{NodeId: "two", SlotId: "cpu7", Disabled: true}}},
		"a node that does not exist": {Command: &tandemv1.Command_LabelNode{LabelNode: &tandemv1.LabelNode{NodeId: "three"}}},
	} {
		if res := do(c); res.GetRefusal() == 0 {
			t.Errorf("%s was taken", why)
		}
	}
	do(&tandemv1.Command{Command: &tandemv1.Command_CordonNode{CordonNode: &tandemv1.CordonNode{NodeId: "two"}}})
	if n, _ := w.View().Node("two"); n.GetCordonReason() != "" || n.GetDrainDeadline() != nil || n.GetDraining() {
		t.Errorf("uncordoned: %v", n)
	}
	do(&tandemv1.Command{Command: &tandemv1.Command_SetSlot{SetSlot: &tandemv1.SetSlot{NodeId: "two", SlotId: "cpu0", Disabled: true}}})
	job, trial := fsmtest.Job("j", 1)
	job.Spec.Placement = &tandemv1.PlacementSpec{Labels: map[string]string{"gpu": "h200"}}
	w.Put(job, trial)
	grant := func(slot string) tandemv1.Reason_Code {
		res := do(&tandemv1.Command{Command: &tandemv1.Command_ApplyPlan{ApplyPlan: &tandemv1.ApplyPlan{Allocations: []*tandemv1.Allocation{{
			Id: "a", TrialId: trial.GetId(), Members: []*tandemv1.Member{{NodeId: "two", SlotId: slot}},
		}}}}})
		return res.GetPartWhys()[0].GetCode()
	}
	if got := grant("cpu0"); got != tandemv1.Reason_CODE_SLOT_DISABLED {
		t.Errorf("a slot that is disabled: %v", got)
	}
	if got := grant("cpu1"); got != tandemv1.Reason_CODE_NODE_LACKS_LABELS {
		t.Errorf("other labels: %v", got)
	}
	do(&tandemv1.Command{Command: &tandemv1.Command_LabelNode{LabelNode: &tandemv1.LabelNode{NodeId: "two", Labels: map[string]string{"gpu": "h200"}}}})
	if got := grant("cpu1"); got != tandemv1.Reason_CODE_UNSPECIFIED {
		t.Errorf("the labels asked for: %v", got)
	}
}

// TestPools: a pool is made before nodes are in it, or exists by its nodes; what is not set stays as it is.
func TestPools(t *testing.T) {
	w := fsmtest.New(t)
	w.Put(fsmtest.Node("n", 1))
	put := func(c *tandemv1.PutPool) tandemv1.RefusalCode {
		t.Helper()
		res, err := w.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_PutPool{PutPool: c}})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetRefusal()
	}
	spread, rack, none := "spread", "rack", ""
	for _, tc := range []struct {
		put  *tandemv1.PutPool
		want tandemv1.RefusalCode
		is   string
	}{
		{&tandemv1.PutPool{Name: "gpu"}, tandemv1.RefusalCode_REFUSAL_CODE_NOT_FOUND, "fifo pack "},
		{&tandemv1.PutPool{Name: "gpu", Create: true, RackLabel: &rack}, 0, "fifo pack rack"},
		{&tandemv1.PutPool{Name: "gpu", Create: true}, tandemv1.RefusalCode_REFUSAL_CODE_ALREADY_EXISTS, "fifo pack rack"},
		{&tandemv1.PutPool{Name: "gpu", Placement: &spread}, 0, "fifo spread rack"},
		{&tandemv1.PutPool{Name: "gpu", RackLabel: &none}, 0, "fifo spread "},
		{&tandemv1.PutPool{Name: "default", Create: true}, tandemv1.RefusalCode_REFUSAL_CODE_ALREADY_EXISTS, "fifo pack "},
		{&tandemv1.PutPool{Name: "default", Placement: &spread}, 0, "fifo spread "},
	} {
		got := put(tc.put)
		p := state.PoolPolicy(w.View(), tc.put.GetName())
		if is := p.GetOrder() + " " + p.GetPlacement() + " " + p.GetRackLabel(); got != tc.want || is != tc.is {
			t.Errorf("%v: %v, %q, want %v, %q", tc.put, got, is, tc.want, tc.is)
		}
	}
	pools := state.Pools(w.View())
	if len(pools) != 2 || pools[0].GetName() != "default" || pools[0].GetSlots() != 1 || pools[1].GetNodes() != 0 || pools[1].GetPolicy().GetCreatedAt() == nil {
		t.Errorf("%v", pools)
	}
}
