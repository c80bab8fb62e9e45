package agent

import (
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/tunnel"
)

// orders is the part of a task that changes while its process is there. The zero value is what every task begins with.
type orders struct {
	group  *tandemv1.ProcessGroup // nil: none yet
	broken bool                   // the group does not work any more
	stop   bool                   // stop at a step boundary with a checkpoint
}

func ordersOf(t *tandemv1.EngineTask) orders {
	train := t.GetTrain()
	return orders{train.GetGroup(), train.GetBroken(), train.GetStopping()}
}

// member is the rank that these orders give an engine; false: none.
func (o orders) member(e *engine) (tunnel.Member, bool) {
	if o.group.GetRank() < 0 || o.group.GetGeneration() == 0 {
		return tunnel.Member{}, false
	}
	m := tunnel.Member{
		Engine: e.task.GetId(), Rank: o.group.GetRank(),
		Group: tunnel.Group{Allocation: allocationOf(e.task), Generation: o.group.GetGeneration()},
	}
	for _, p := range o.group.GetPeers() {
		m.Peers = append(m.Peers, tunnel.Peer{Node: p.GetNodeId(), Address: p.GetAddress()})
	}
	return m, true
}

func (o orders) equal(p orders) bool {
	return o.broken == p.broken && o.stop == p.stop && proto.Equal(o.group, p.group)
}

// commands are what an engine that follows from has to be told to follow o.
func (o orders) commands(from orders) []*tandemv1.ControlResponse {
	var all []*tandemv1.ControlResponse
	if o.group != nil && !proto.Equal(o.group, from.group) {
		all = append(all, &tandemv1.ControlResponse{Command: &tandemv1.ControlResponse_Group{Group: o.group}})
	}
	if o.broken && (!from.broken || o.group.GetGeneration() != from.group.GetGeneration()) {
		all = append(all, &tandemv1.ControlResponse{Command: &tandemv1.ControlResponse_Break{
			Break: &tandemv1.BreakCommand{Generation: o.group.GetGeneration()},
		}})
	}
	if o.stop && !from.stop {
		all = append(all, &tandemv1.ControlResponse{Command: &tandemv1.ControlResponse_Stop{Stop: &tandemv1.StopCommand{}}})
	}
	return all
}
