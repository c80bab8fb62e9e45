package fsm

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// How long nothing is placed on a node that could not run an engine. The time doubles with each that fails there, as between two
// attempts of Kubernetes to start a container.
const (
	firstFaultTime   = 10 * time.Second
	longestFaultTime = 5 * time.Minute
)

// nodeFails notes that a node could not run an engine, whatever its task was. Of several engines that fail at once the first counts.
func (a *applier) nodeFails(id string, cause *tandemv1.Reason) {
	n, _ := a.Node(id)
	if state.Faulty(n, a.now.AsTime()) {
		return
	}
	times := n.GetFault().GetTimes()
	pause := min(firstFaultTime<<min(times, 20), longestFaultTime)
	n = edit(a, a.Node, id, func(n *tandemv1.Node) {
		n.Fault = &tandemv1.NodeFault{Why: cause, Until: timestamppb.New(a.now.AsTime().Add(pause)), Times: times + 1}
	})
	a.record(warningLevel, tandemv1.Event_TYPE_NODE_FAULTY, aboutNode(n), cause, "pause", pause)
}

// nodeRuns notes that an engine on a node is up, which ends a fault once it was time to try the node again.
func (a *applier) nodeRuns(id string) {
	n, _ := a.Node(id)
	if n.GetFault() == nil || state.Faulty(n, a.now.AsTime()) {
		return // an engine that was there before the fault says nothing of it
	}
	n = edit(a, a.Node, id, func(n *tandemv1.Node) { n.Fault = nil })
	a.record(infoLevel, tandemv1.Event_TYPE_NODE_RECOVERED, aboutNode(n), nil)
}
