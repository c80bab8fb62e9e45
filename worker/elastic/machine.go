package elastic

// Group is one generation of an allocation as this member sees it.
type Group struct {
	Generation int64 // 0: none
	Rank       int   // -1: this member is not in it and leaves when it is formed
	World      int
	LocalRank  int
	Planned    bool // the group before works: its ranks go over at a step boundary
	Formed     bool // its ranks have formed it; only known to a member that leaves
	Relay      bool // it hands the state of the training on and does no step
	Peers      []Peer
	Listen     string // loopback address for ranks of other hosts, which the agent lets through; empty: they connect by themselves
}

// Peer is another node that has ranks in the group.
type Peer struct {
	Node    string // identity
	Name    string // for people
	Address string // host:port that answers when the machine can be reached
	Engine  string // host:port that answers when a process group gets through; empty: none is known
}

// Unreached is a node that was not reached.
type Unreached struct {
	Peer
	Filtered bool // its agent answered, but not its engine
}

// Orders are what the coordinator wants, the whole of it each time.
type Orders struct {
	Group  Group // committed last
	Broken bool  // it does not work any more
	Stop   bool  // stop at a step boundary with a checkpoint
}

// Phase is where the member is.
type Phase int

// The phases.
const (
	Preparing Phase = iota // loads what it needs; in no group
	Waiting                // ready for a group
	Joining                // connects with the other ranks and takes or gives state
	Training
	Ended
)

// Event is something that happened.
type Event interface{ event() }

type (
	// Ordered: orders have come; they may be the same as before.
	Ordered struct{ Orders Orders }
	// Prepared: the member can be taken into a group.
	Prepared struct{}
	// Joined: the group is formed, all ranks have the same state.
	Joined struct{ Step int64 }
	// Broke: joining or training failed because of the others, or was aborted. The state is that after Step.
	Broke struct {
		Step    int64
		Message string
		Hung    bool // a deadline passed
		// Unreachable are nodes with ranks of the group that were not reached.
		Unreachable []Unreached
	}
	// Moved: all ranks let go of the group at the same step, to go over to the next.
	Moved struct{ Step int64 }
	// Done: the work is done, or was stopped with a checkpoint, on all ranks.
	Done struct {
		Step    int64
		Stopped bool
	}
)

func (Ordered) event()  {}
func (Prepared) event() {}
func (Joined) event()   {}
func (Broke) event()    {}
func (Moved) event()    {}
func (Done) event()     {}

// Action is something to do, in the order given.
type Action interface{ action() }

type (
	// ReportReady says that the member can be taken into a group.
	ReportReady struct{}
	// ReportBroken says that a group does not work any more for this member.
	ReportBroken struct {
		Generation, Step int64
		Message          string
		Hung             bool
		Unreachable      []Unreached
	}
	// Join joins a group.
	Join struct{ Group Group }
	// Train trains in the group that was joined.
	Train struct{}
	// Abort ends what waits in the present group, at once.
	Abort struct{ Why string }
	// Move asks the ranks to let go of the present group at a step boundary.
	Move struct{}
	// Stop asks the ranks to stop at a step boundary with a checkpoint.
	Stop struct{}
	// End is the last: the member has nothing more to do.
	End struct {
		Step    int64
		Stopped bool // stopped as asked, or taken out of the group; else all work is done
	}
)

func (ReportReady) action()  {}
func (ReportBroken) action() {}
func (Join) action()         {}
func (Train) action()        {}
func (Abort) action()        {}
func (Move) action()         {}
func (Stop) action()         {}
func (End) action()          {}

// Machine decides for one member. The zero value is a member that prepares.
type Machine struct {
	phase    Phase
	orders   Orders
	group    Group // the one it is in, joins, or was in last
	answered int64 // generation it last reported as broken
	step     int64 // optimizer steps done
	aborted  bool  // in this phase: no more asking
	moving   bool
	stopping bool
}

// Phase returns where the member is.
func (m *Machine) Phase() Phase { return m.phase }

// Handle takes an event and says what to do.
func (m *Machine) Handle(e Event) []Action {
	if m.phase == Ended {
		return nil
	}
	var acts []Action
	switch e := e.(type) {
	case Ordered:
		// Orders are the newest state of things; a connection may still deliver an older one.
		if e.Orders.Group.Generation < m.orders.Group.Generation {
			return nil
		}
		m.orders = e.Orders
	case Prepared:
		m.phase = Waiting
		acts = append(acts, ReportReady{})
	case Joined:
		m.phase, m.step = Training, e.Step
		acts = append(acts, Train{})
	case Broke:
		m.wait(e.Step)
		m.answered = m.group.Generation
		acts = append(acts, ReportBroken{m.group.Generation, e.Step, e.Message, e.Hung, e.Unreachable})
	case Moved:
		m.wait(e.Step)
	case Done:
		m.phase = Ended
		return append(acts, End(e))
	}
	return append(acts, m.follow()...)
}

// wait lets go of the present group.
func (m *Machine) wait(step int64) {
	m.phase, m.step = Waiting, step
	m.aborted, m.moving, m.stopping = false, false, false
}

// follow compares the orders with where the member is.
func (m *Machine) follow() []Action {
	switch m.phase {
	case Waiting:
		return m.followWaiting()
	case Joining, Training:
		return m.followGroup()
	}
	return nil
}

func (m *Machine) followWaiting() []Action {
	next := m.orders.Group
	switch {
	case next.Generation == 0 && m.orders.Stop: // nothing was done that could be kept
		m.phase = Ended
		return []Action{End{m.step, true}}
	case next.Generation <= m.group.Generation:
		return nil
	case next.Rank < 0 && next.Formed: // the others have the state, whatever becomes of them
		m.phase = Ended
		return []Action{End{m.step, true}}
	case m.orders.Broken:
		// It broke before this member could join, or before it had the state that a member that leaves still has. The
		// coordinator waits for the answer of all.
		if m.answered >= next.Generation {
			return nil
		}
		m.answered = next.Generation
		return []Action{ReportBroken{Generation: next.Generation, Step: m.step, Message: "the group broke before this member had joined it"}}
	}
	if next.Rank < 0 {
		return nil // until the others have the state for certain
	}
	m.phase, m.group = Joining, next
	return []Action{Join{next}}
}

func (m *Machine) followGroup() []Action {
	var acts []Action
	next := m.orders.Group
	newer := next.Generation > m.group.Generation
	switch {
	case m.aborted:
	case newer && (!next.Planned || m.orders.Broken || m.phase == Joining):
		// While a group is formed no step is under way: and who has not begun to join it may never do so now.
		m.aborted = true
		acts = append(acts, Abort{"another generation was committed"})
	case !newer && m.orders.Broken && next.Generation == m.group.Generation:
		m.aborted = true
		acts = append(acts, Abort{"the group does not work any more"})
	case newer && !m.moving:
		m.moving = true
		acts = append(acts, Move{})
	}
	if m.orders.Stop && !m.stopping && m.phase == Training {
		m.stopping = true
		acts = append(acts, Stop{})
	}
	return acts
}
