package agent

import (
	"fmt"
	"time"

	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// taskKey names one task for ever: a task has one process for its whole life.
type taskKey struct {
	id         string
	generation int64
}

func keyOf(t *tandemv1.EngineTask) taskKey { return taskKey{t.GetId(), t.GetGeneration()} }

// phase is where an engine's process is in its life.
type phase int

const (
	phaseStarting    phase = iota // started; has not asked for its task
	phaseUp                       // knows its task
	phaseReady                    // has reported that it works
	phaseTerminating              // was sent SIGTERM
	phaseKilled                   // was sent SIGKILL; only the kernel has to act
)

var phaseNames = [...]string{"starting", "up", "ready", "terminating", "killed"}

func (p phase) String() string { return phaseNames[p] }

// engineView is what reconcile needs to know of a process that is there.
type engineView struct {
	key     taskKey
	slot    string
	phase   phase
	fenced  bool      // its generation is over: it must not act any more
	hung    bool      // it does not answer any more
	full    string    // how it takes too much disk; empty: it does not
	started time.Time // when its process was started
	termed  time.Time // when it was sent SIGTERM
	spoke   time.Time // when it reported that it ends; zero if it has not
	idle    time.Time // when it asked for another task, all of the one before being over; zero if it has not
	orders  orders    // what it was told last
	trains  bool      // it is a member of an allocation, not a replica
	job     string    // that it trains for; empty for other tasks
	handed  bool      // its process had another task before, so it has nothing to load
}

// verb is what is to be done with an engine.
type verb int

const (
	verbStart     verb = iota // start a process for task
	verbHandOver              // give task to the process of from, whose own is over
	verbTell                  // tell it the orders of task
	verbTerminate             // SIGTERM
	verbKill                  // SIGKILL
	verbRefuse                // report that task cannot be done here
)

var verbNames = [...]string{"start", "hand over", "tell", "terminate", "kill", "refuse"}

func (v verb) String() string { return verbNames[v] }

// action is one decision of reconcile with its reason.
type action struct {
	verb   verb
	key    taskKey
	task   *tandemv1.EngineTask // for verbStart, verbHandOver, verbTell and verbRefuse
	reason string
	from   taskKey // for verbHandOver
}

// limits are the times an engine is given.
type limits struct {
	grace time.Duration // between SIGTERM and SIGKILL
	// brief is that of a member whose allocation goes on without it: others wait for its slot.
	brief time.Duration
	hello time.Duration // between start and Hello
	end   time.Duration // between its last word and its end
	idle  time.Duration // between its last word and another task
	probe time.Duration // between two questions whether it lives, and for each answer
}

// world is all that reconcile looks at.
type world struct {
	known    bool                   // a desired state was received; without one nothing is started or stopped for its sake
	desired  []*tandemv1.EngineTask // engines that should be there
	engines  []engineView           // processes there are
	slots    map[string]bool        // slots of this node
	done     map[taskKey]bool       // tasks whose process has ended
	cordoned bool                   // no new work comes to this node
	leaving  bool                   // the agent is about to end: no engine may stay
	limits   limits
}

// reconcile compares the engines wanted with the processes there are and says what to do now, and when to look again
// at the latest (zero: only when something changes). Carrying the actions out makes them go away: it is level-triggered.
func reconcile(now time.Time, w world) (actions []action, wake time.Time) {
	wanted := make(map[taskKey]*tandemv1.EngineTask, len(w.desired))
	for _, t := range w.desired {
		wanted[keyOf(t)] = t
	}
	busy := map[string]bool{}
	idle := map[string]engineView{} // by slot
	running := map[taskKey]bool{}
	for _, e := range w.engines {
		busy[e.slot] = true
		running[e.key] = true
		a, at := tend(now, w, e, wanted[e.key])
		switch {
		case a != nil:
			actions = append(actions, *a)
		case !e.idle.IsZero() && e.phase < phaseTerminating:
			idle[e.slot] = e
		}
		if !at.IsZero() && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
	if w.leaving || !w.known {
		return actions, wake
	}
	for _, t := range w.desired {
		key := keyOf(t)
		switch {
		case running[key] || w.done[key]:
		case beyond(t) != "":
			actions = append(actions, action{verb: verbRefuse, key: key, task: t, reason: beyond(t)})
		case !w.slots[t.GetSlotId()]:
			actions = append(actions, action{verb: verbRefuse, key: key, task: t, reason: "this node has no slot " + t.GetSlotId()})
		case idle[t.GetSlotId()].slot != "":
			actions = append(actions, succeed(idle[t.GetSlotId()], t))
			delete(idle, t.GetSlotId())
		case busy[t.GetSlotId()]: // its turn comes when the process there is gone
		default:
			busy[t.GetSlotId()] = true
			actions = append(actions, action{verb: verbStart, key: key, task: t, reason: "wanted"})
		}
	}
	return actions, wake
}

// beyond says why a task is refused that asks for something this agent does not know, as one of a newer coordinator may: to leave
// that out would make another result. Empty: the agent knows all of it.
func beyond(t *tandemv1.EngineTask) string {
	what := schema.Unknown(t)
	if what == "" {
		return ""
	}
	return fmt.Sprintf("the task has an unknown %s; the agent of this node knows feature level %d: upgrade it", what, schema.Known)
}

// succeed decides what comes after an engine without a task on a slot that t is to have. A process goes on within a job only: what a
// job's model did to it is no other job's business.
func succeed(e engineView, t *tandemv1.EngineTask) action {
	if job := t.GetTrain().GetJobId(); job != "" && job == e.job {
		return action{verb: verbHandOver, key: keyOf(t), task: t, reason: "wanted, and a process of its job has nothing to do", from: e.key}
	}
	return action{verb: verbKill, key: e.key, reason: "its slot is for another job"}
}

// tend decides about one process that is there; want is its task in the desired state, nil if it is not listed.
func tend(now time.Time, w world, e engineView, want *tandemv1.EngineTask) (*action, time.Time) {
	do := func(v verb, reason string) (*action, time.Time) {
		return &action{verb: v, key: e.key, reason: reason}, time.Time{}
	}
	switch {
	case e.phase == phaseKilled:
		return nil, time.Time{}
	case e.fenced:
		return do(verbKill, "its generation is over")
	case e.full != "": // each moment more
		return do(verbKill, e.full)
	case e.phase == phaseTerminating:
		grace := w.limits.grace
		if e.trains && !w.leaving {
			grace = min(grace, w.limits.brief)
		}
		if end := e.termed.Add(grace); now.Before(end) {
			return nil, end
		}
		return do(verbKill, "did not end in time after SIGTERM")
	case w.leaving && e.idle.IsZero():
		return do(verbTerminate, reasonLeaving)
	case !e.idle.IsZero(): // it has nothing to close, and may hang
		if end := e.idle.Add(w.limits.idle); !w.leaving && !w.cordoned && now.Before(end) {
			return nil, end
		}
		return do(verbKill, "nothing more to do")
	case !e.spoke.IsZero(): // the coordinator drops it as soon as it hears that; let it close what it has open
		if end := e.spoke.Add(w.limits.end); now.Before(end) {
			return nil, end
		}
		return do(verbTerminate, "said its last word and did not end")
	case w.known && want == nil:
		return do(verbTerminate, "no longer wanted")
	case e.phase == phaseStarting:
		limit := w.limits.hello
		if e.handed {
			limit = min(limit, missLimit*w.limits.probe)
		}
		if end := e.started.Add(limit); now.Before(end) {
			return nil, end
		}
		return do(verbKill, reasonNoHello)
	case e.hung:
		return do(verbKill, reasonHung)
	case want != nil && !ordersOf(want).equal(e.orders):
		return &action{verb: verbTell, key: e.key, task: want, reason: "its orders have changed"}, time.Time{}
	}
	return nil, time.Time{}
}

// reasonLeaving is why engines end whose agent ends.
const reasonLeaving = "the agent ends"

// reasonNoHello is why an engine is killed that hangs before it has asked for its task.
const reasonNoHello = "did not ask for its task in time"

// reasonHung is why an engine is killed that does not answer any more, or gives no sign of life.
const reasonHung = "it hangs: it did not say in time that it lives, twice in a row"
