package fsm_test

import (
	"strings"
	"testing"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
)

// TestDoorsOfEngines: where an engine can be knocked at is passed on to the other nodes of its group; when one that did not get through
// says so, the event names nodes and ports.
func TestDoorsOfEngines(t *testing.T) {
	s, apply := applied(t)
	apply(`1 op create_dataset {"dataset": {"id": "data-1", "name": "d", "prefix": "p"}}`)
	apply(`1 op register_node {"node": {"id": "node-a", "name": "a", "address": "a:1", "incarnation": 1, "slots": [{"id": "cpu0"}]}}`)
	apply(`1 op register_node {"node": {"id": "node-b", "name": "b", "address": "b:1", "incarnation": 1, "slots": [{"id": "cpu0"}]}}`)
	apply(`1 op create_job {"job": {"id": "job-1", "kind": "JOB_KIND_TRAIN", "spec": {"dataset_id": "data-1", "resources": {"workers": 2}}}, "trial": {"id": "trial-1"}}`)
	apply(`2 op apply_plan {"allocations": [{"id": "alloc-1", "trial_id": "trial-1", "members": [{"node_id": "node-a", "slot_id": "cpu0"}, {"node_id": "node-b", "slot_id": "cpu0"}]}]}`)
	apply(`3 node-a apply_reports {"node_id": "node-a", "incarnation": 1, "reports": [{"engine_id": "alloc-1/0", "generation": 1, "ready": {"address": "a:40000"}}]}`)
	apply(`3 node-b apply_reports {"node_id": "node-b", "incarnation": 1, "reports": [{"engine_id": "alloc-1/1", "generation": 1, "ready": {"address": "b:40000"}}]}`)
	apply(`4 op reform_allocation {"allocation_id": "alloc-1", "form": [0, 1]}`)
	peers := state.Desired(s.View(), "node-a")[0].GetTrain().GetGroup().GetPeers()
	if len(peers) != 1 || peers[0].GetAddress() != "b:1" || peers[0].GetEngineAddress() != "b:40000" {
		t.Errorf("the peers of the rank on a: %v", peers)
	}
	apply(`5 node-a apply_reports {"node_id": "node-a", "incarnation": 1, "reports": [{"engine_id": "alloc-1/0", "generation": 1, "broken": {"message": "x", "unreachable": ["node-b"], "filtered": ["node-b"]}}]}`)
	var events strings.Builder
	for _, e := range s.View().Events(10) {
		events.WriteString(say.Event(e, say.Plain) + "\n")
	}
	const want = "Nodes a and b reach each other's agents, but not each other's engines: let TCP through between them, both ways, on the ports that sysctl net.ipv4.ip_local_port_range shows there (32768 to 60999 unless somebody changed it). No job has workers on both for 1m0s."
	if !strings.Contains(events.String(), want) {
		t.Errorf("no event says which ports to open:\n%s", &events)
	}
}
