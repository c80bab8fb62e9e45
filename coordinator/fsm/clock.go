package fsm

import (
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// observeClock notes how far the clock of a node or a coordinator is off, and says so.
func (a *applier) observeClock(c *tandemv1.ObserveClock) (*tandemv1.Result, *refusal) {
	if n, ok := a.Node(c.GetNodeId()); ok {
		if n.GetClockOffset().AsDuration() != c.GetOffset().AsDuration() {
			edit(a, a.Node, n.GetId(), func(n *tandemv1.Node) { n.ClockOffset = c.GetOffset() })
			a.clockEvent(c, aboutNode(n), tandemv1.Event_TYPE_NODE_CLOCK, tandemv1.Event_TYPE_NODE_CLOCK_RIGHT)
		}
		return done(n.GetId()), nil
	}
	row, ok := a.Coordinator(c.GetNodeId())
	if !ok {
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "node", "name", c.GetNodeId())
	}
	if row.GetClockOffset().AsDuration() != c.GetOffset().AsDuration() {
		edit(a, a.Coordinator, row.GetId(), func(row *tandemv1.Coordinator) { row.ClockOffset = c.GetOffset() })
		a.clockEvent(c, aboutCoordinator(row.GetId()), tandemv1.Event_TYPE_COORDINATOR_CLOCK, tandemv1.Event_TYPE_COORDINATOR_CLOCK_RIGHT)
	}
	return done(row.GetId()), nil
}

func (a *applier) clockEvent(c *tandemv1.ObserveClock, about subject, off, right tandemv1.Event_Type) {
	if offset := c.GetOffset().AsDuration(); offset != 0 {
		a.record(warningLevel, off, about, nil, "offset", offset.Round(time.Second), "observer", c.GetObserver())
		return
	}
	a.record(infoLevel, right, about, nil, "observer", c.GetObserver())
}
