package fsm_test

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// trained is a state with many jobs, of which the last trains, and a report of that one.
func trained(b *testing.B) (*state.State, *fsm.FSM, *tandemv1.Command, uint64) {
	b.Helper()
	s, m := machine(b)
	index := uint64(0)
	apply := func(line string) {
		b.Helper()
		cmd, err := parseCommand(line)
		if err != nil {
			b.Fatal(err)
		}
		index++
		if res := m.Apply(entry(b, index, cmd)).(*tandemv1.Result); res.GetRefusal() != 0 {
			b.Fatalf("%s: %v", line, res)
		}
	}
	apply(`1 op create_dataset {"dataset": {"id": "data-1", "name": "d", "prefix": "p"}}`)
	apply(`1 op register_node {"node": {"id": "node-a", "incarnation": 1, "slots": [{"id": "cpu0"}]}}`)
	const jobs = 10_000
	for i := 1; i <= jobs; i++ {
		apply(fmt.Sprintf(`1 op!request-%d create_job {"job": {"id": "job-%d", "kind": "JOB_KIND_TRAIN",
			"spec": {"dataset_id": "data-1", "resources": {"workers": 1}}}, "trial": {"id": "trial-%d"}}`, i, i, i))
	}
	apply(fmt.Sprintf(`2 op apply_plan {"allocations": [{"id": "alloc-1", "trial_id": "trial-%d",
		"members": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`, jobs))
	apply(`3 node-a apply_reports {"node_id": "node-a", "incarnation": 1,
		"reports": [{"engine_id": "alloc-1/0", "generation": 1, "ready": {}}]}`)
	apply(`3 op reform_allocation {"allocation_id": "alloc-1", "form": [0]}`)
	cmd, err := parseCommand(`4 node-a apply_reports {"node_id": "node-a", "incarnation": 1,
		"reports": [{"engine_id": "alloc-1/0", "generation": 1, "evaluation": {"step": 1, "metrics": {"loss": 0.5}}}]}`)
	if err != nil {
		b.Fatal(err)
	}
	return s, m, cmd, index
}

// BenchmarkCheck is what the leader does with a command before it is logged, beside BenchmarkApply, which each coordinator does.
func BenchmarkCheck(b *testing.B) {
	s, _, cmd, _ := trained(b)
	data, err := proto.Marshal(cmd)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := fsm.Check(s, data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApply applies the same report again and again.
func BenchmarkApply(b *testing.B) {
	_, m, cmd, index := trained(b)
	e := entry(b, index, cmd)
	b.ReportAllocs()
	for b.Loop() {
		e.Index++
		if res := m.Apply(e).(*tandemv1.Result); len(res.GetPartWhys()) > 0 && res.GetPartWhys()[0].GetCode() != 0 {
			b.Fatal(res)
		}
	}
}
