package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// cluster is a play with engines: they do what their tasks say, one thing at a time, in any order.
type cluster struct {
	*play
	r       *rapid.T
	engines map[string]*engine // of all that ever were, by id
	order   []string
	reached map[string]int
	slow    bool // the deadline of a hang takes a while
}

// engine is one process.
type engine struct {
	id         string
	dead       bool // killed, or let go
	hangs      bool
	ready      bool
	generation int64 // of the group it has joined; 0: none
	broke      int64 // generation it has said of that it does not work
	step       int64
	finished   bool
}

const trainingSteps = 40

func newCluster(t *testing.T, r *rapid.T, reached map[string]int) *cluster {
	c := &cluster{play: newPlay(t), r: r, engines: map[string]*engine{}, reached: reached}
	for _, n := range []string{"a", "b", "c"} {
		c.happens("node " + n + " slots=2")
	}
	for _, j := range jobs() {
		workers := rapid.IntRange(1, 4).Draw(r, "workers")
		lowest := rapid.IntRange(1, workers).Draw(r, "min")
		c.happens(fmt.Sprintf("job %s workers=%d min=%d max=5 restarts=1000 priority=%d", j, workers, lowest, rapid.IntRange(0, 1).Draw(r, "priority")))
	}
	return c
}

// jobs are the jobs that share the cluster.
func jobs() []string { return []string{"j", "k"} }

// happens lets something happen, then lets the loops run and checks what they have made of it.
func (c *cluster) happens(line string) {
	before := c.S.View()
	c.happen(line)
	c.check(before)
	// Nodes that are lost or begin anew take their engines with them, and in time those that do not answer are taken for lost.
	if verb, _, _ := strings.Cut(line, " "); verb != "wait" && verb != "lose" && verb != "back" {
		c.checkKept(before)
	}
	c.follow()
}

// follow lets the agents start and end engines as they should.
func (c *cluster) follow() {
	wanted := map[string]bool{}
	for _, n := range c.S.View().Nodes() {
		for _, task := range state.Desired(c.S.View(), n.GetId()) {
			wanted[task.GetId()] = true
			if c.engines[task.GetId()] == nil {
				c.engines[task.GetId()] = &engine{id: task.GetId()}
				c.order = append(c.order, task.GetId())
			}
		}
	}
	for _, id := range c.order {
		if !wanted[id] {
			c.engines[id].dead = true
		}
	}
}

func (c *cluster) live() []*engine {
	var all []*engine
	for _, id := range c.order {
		if e := c.engines[id]; !e.dead {
			all = append(all, e)
		}
	}
	return all
}

func (c *cluster) task(e *engine) *tandemv1.TrainTask {
	for _, task := range state.Desired(c.S.View(), c.at[e.id]) {
		if task.GetId() == e.id {
			return task.GetTrain()
		}
	}
	return nil
}

// tick lets an engine do the next thing; false when it has nothing to do, or hangs.
func (c *cluster) tick(e *engine) bool {
	task := c.task(e)
	if task == nil || e.hangs || e.finished {
		return false
	}
	g := task.GetGroup()
	switch {
	case !e.ready && task.GetStopping(), g.GetRank() < 0 && g.GetFormed() && !task.GetBroken(), e.ready && g == nil && task.GetStopping():
		c.happens("stopped " + e.id)
	case !e.ready:
		e.ready, e.step = true, task.GetResume().GetStep()
		c.happens("ready " + e.id)
	case g == nil:
		return false
	case task.GetBroken():
		if e.broke == g.GetGeneration() {
			return false
		}
		if g.GetRank() < 0 {
			c.reached["called back"]++
		}
		e.broke, e.generation = g.GetGeneration(), 0
		c.happens(fmt.Sprintf("broken %s step=%d generation=%d", e.id, e.step, g.GetGeneration()))
	case g.GetPlanned() && e.generation > 0 && e.generation < g.GetGeneration() && c.waitsForHung(e):
		c.reached["hang before the change"]++
		e.broke = e.generation
		c.happens(fmt.Sprintf("hung %s step=%d generation=%d", e.id, e.step, e.generation))
		e.generation = 0
	case g.GetRank() < 0:
		return false // its state may be needed still
	case e.generation < g.GetGeneration():
		return c.join(e, g)
	default:
		return c.train(e, task)
	}
	return true
}

// waitsForHung says whether a rank of the group that an engine is in hangs, so that they do not come to the step boundary.
func (c *cluster) waitsForHung(e *engine) bool {
	return slices.ContainsFunc(c.live(), func(o *engine) bool { return o.hangs && c.of(o) == c.of(e) && o.generation == e.generation })
}

// join goes over to the committed group; the last one to do so forms it, with the newest state of all.
func (c *cluster) join(e *engine, g *tandemv1.ProcessGroup) bool {
	e.generation = g.GetGeneration()
	var ranks []*engine
	newest := int64(0)
	for _, o := range c.live() {
		if t := c.task(o); c.of(o) == c.of(e) && t.GetGroup().GetRank() >= 0 && t.GetGroup().GetGeneration() == g.GetGeneration() && o.generation == g.GetGeneration() {
			ranks = append(ranks, o)
			newest = max(newest, o.step)
		}
	}
	if len(ranks) < int(g.GetWorldSize()) {
		return true
	}
	if latest, _ := c.S.View().Checkpoint(c.trial(e).GetLatestCheckpointId()); newest < latest.GetStep() {
		c.r.Fatalf("the group goes on from step %d, but there is a checkpoint at step %d", newest, latest.GetStep())
	}
	for _, o := range c.live() {
		if c.of(o) == c.of(e) && !o.hangs && c.task(o).GetGroup() != nil && o.step > newest {
			c.r.Fatalf("the group goes on from step %d, but %s has done %d\n%s", newest, o.id, o.step, last(c.out.String(), 3000))
		}
	}
	for _, o := range ranks {
		o.step = newest
	}
	// Once, of the group that was joined: what comes of it may be that another has the rank in the next one.
	first := slices.IndexFunc(ranks, func(o *engine) bool { return c.task(o).GetGroup().GetRank() == 0 })
	c.happens(fmt.Sprintf("formed %s step=%d", ranks[first].id, newest))
	return true
}

// train does a step, finishes or stops: all ranks of the group together, for they do nothing alone. A rank that misses one breaks.
func (c *cluster) train(e *engine, task *tandemv1.TrainTask) bool {
	var ranks []*engine
	for _, o := range c.live() {
		if c.of(o) == c.of(e) && o.generation == e.generation && !o.hangs {
			ranks = append(ranks, o)
		}
	}
	g := task.GetGroup()
	if len(ranks) < int(g.GetWorldSize()) {
		word := "broken"
		for _, o := range c.live() {
			if o.hangs && c.of(o) == c.of(e) {
				if c.slow && rapid.IntRange(0, 14).Draw(c.r, "deadline") > 0 {
					return false // it has not passed yet
				}
				word = "hung"
				c.reached["hang"]++
			}
		}
		e.broke, e.generation = g.GetGeneration(), 0
		c.happens(fmt.Sprintf("%s %s step=%d generation=%d", word, e.id, e.step, g.GetGeneration()))
		return true
	}
	if a, ok := c.S.View().Allocation(c.of(e)); ok && !state.GroupFormed(a) {
		return false
	}
	switch {
	case g.GetRelay() && !task.GetStopping():
		return false
	case task.GetStopping():
		c.happens(fmt.Sprintf("checkpoint %s step=%d", e.id, e.step))
		for _, o := range ranks {
			c.happens("stopped " + o.id)
		}
	case e.step >= trainingSteps:
		for _, o := range ranks {
			o.finished = true
			c.happens("finished " + o.id)
		}
		c.reached["finished"]++
	default:
		for _, o := range ranks {
			o.step++
		}
		if e.step%7 == 0 {
			c.happens(fmt.Sprintf("checkpoint %s step=%d", e.id, e.step))
		}
	}
	return true
}

// of is the allocation of an engine.
func (c *cluster) of(e *engine) string {
	allocation, _, _ := state.ParseEngineID(e.id)
	return allocation
}

// trial is the trial of an engine that is wanted.
func (c *cluster) trial(e *engine) *tandemv1.Trial {
	a, _ := c.S.View().Allocation(c.of(e))
	t, _ := c.S.View().Trial(a.GetTrialId())
	return t
}

// check looks at what the last thing that happened has led to.
func (c *cluster) check(before *state.View) {
	after := c.S.View()
	held := map[string]bool{}
	for _, a := range after.Allocations() {
		old, _ := before.Allocation(a.GetId())
		if t, _ := after.Trial(a.GetTrialId()); a.GetGeneration() < old.GetGeneration() || a.GetGeneration() != t.GetGeneration() {
			c.r.Fatalf("generation %d came after %d, the trial is at %d", a.GetGeneration(), old.GetGeneration(), t.GetGeneration())
		}
		for _, m := range a.GetMembers() {
			place := m.GetNodeId() + "/" + m.GetSlotId()
			if held[place] {
				c.r.Fatalf("slot %s is held twice", place)
			}
			held[place] = true
		}
		j, _ := after.Job(a.GetJobId())
		workers := state.WorkersOf(j)
		most := workers.Max
		if a.GetGroup().GetRelay() {
			most++
			c.reached["relay"]++
		}
		if n := int(a.GetGroup().GetWorldSize()); a.GetGeneration() > old.GetGeneration() && state.HasGroup(a) && (n > most || n < workers.Min && !a.GetStopping()) {
			c.r.Fatalf("%d ranks are not between %d and %d", n, workers.Min, most)
		}
		if a.GetGroup().GetPlanned() {
			c.reached["planned"]++
		}
		if a.GetStopping() {
			c.reached["stopping"]++
		}
	}
	for _, t := range after.Trials() {
		if say.Reason(t.GetWhy(), say.CLI) == "" {
			c.r.Fatalf("the trial has no reason: %v", t)
		}
	}
}

// checkKept: no allocation is given back while an engine that answers has steps that no checkpoint has, as long as its group is not
// formed and it is not on its way out.
func (c *cluster) checkKept(before *state.View) {
	after := c.S.View()
	for _, a := range before.Allocations() {
		if _, there := after.Allocation(a.GetId()); there || state.GroupFormed(a) || a.GetStopping() {
			continue
		}
		t, _ := after.Trial(a.GetTrialId())
		latest, _ := after.Checkpoint(t.GetLatestCheckpointId())
		for _, e := range c.live() {
			if c.of(e) == a.GetId() && !e.hangs && e.step > latest.GetStep() {
				c.r.Fatalf("%s is well and has done %d steps, but its allocation was given back:\n%s", e.id, e.step, last(c.out.String(), 3000))
			}
		}
	}
}

// late lets an engine that was let go say something; nobody listens.
func (c *cluster) late() {
	for _, id := range c.order {
		owner, _, _ := strings.Cut(id, "/")
		e := c.engines[id]
		if n, ok := c.S.View().Node(c.at[id]); !e.dead || !ok || c.task(e) != nil || n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE {
			continue
		}
		if a, _ := c.S.View().Allocation(owner); state.Member(a, member(id)) != nil {
			continue // it has stopped, and is remembered
		}
		before := c.S.View()
		if why := c.report(id, &tandemv1.EngineReport{Generation: 1, Report: &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: "late", Permanent: true}}}); why.GetCode() != tandemv1.Reason_CODE_ENGINE_OVER {
			c.r.Fatalf("a report of %s, which was let go, was taken: %v", id, why)
		}
		for _, old := range before.Trials() {
			if now, _ := c.S.View().Trial(old.GetId()); old.GetModifiedIndex() != now.GetModifiedIndex() {
				c.r.Fatalf("a late report has changed the trial: %v", now)
			}
		}
		c.reached["late"]++
		return
	}
}

func member(engine string) int32 {
	_, number, _ := state.ParseEngineID(engine)
	return number
}

// fault lets one thing go wrong, or an operator or user do something.
func (c *cluster) fault() {
	nodeName := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(c.r, "node")
	n, _ := c.S.View().Node(nodeName)
	alive := n.GetState() == tandemv1.NodeState_NODE_STATE_ALIVE
	live := c.live()
	switch kind := rapid.IntRange(0, 12).Draw(c.r, "fault"); {
	case kind <= 3 && len(live) > 0:
		e := live[rapid.IntRange(0, len(live)-1).Draw(c.r, "which")]
		e.hangs = kind >= 2
		if rapid.Bool().Draw(c.r, "planned change") { // the window between a change and its group
			a, _ := c.S.View().Allocation(c.of(e))
			c.scale(a.GetJobId(), max(1, a.GetGroup().GetWorldSize()-1))
		}
		if e.hangs || e.dead {
			return
		}
		e.dead = true
		c.happens("killed " + e.id)
		c.reached["killed"]++
	case kind == 4 && alive:
		c.happens("lose " + nodeName)
	case kind == 4 || kind == 5:
		c.happens("back " + nodeName)
	case kind == 6:
		c.happens(rapid.SampledFrom([]string{"uncordon ", "drain ", "cordon "}).Draw(c.r, "what") + nodeName)
	case kind == 7:
		c.scale(rapid.SampledFrom(jobs()).Draw(c.r, "job"), rapid.Int32Range(1, 5).Draw(c.r, "workers"))
	case kind == 8:
		c.happens(rapid.SampledFrom([]string{"resume", "pause"}).Draw(c.r, "intent") + " " + rapid.SampledFrom(jobs()).Draw(c.r, "job"))
	case kind >= 11:
		c.happens("drain " + nodeName)
	case kind == 9:
		c.happens("wait " + rapid.SampledFrom([]string{"100ms", "2s", "31s"}).Draw(c.r, "time"))
	default:
		c.late()
	}
}

func (c *cluster) scale(job string, workers int32) {
	c.happens(fmt.Sprintf("scale %s workers=%d", job, workers))
}

// TestReformAlwaysGetsOn drives state machine, decider and engines through faults in any order. Whatever has happened: when
// nothing more goes wrong, the jobs come to their ends.
func TestReformAlwaysGetsOn(t *testing.T) {
	reached := map[string]int{}
	for range 10 { // rapid does a hundred at a time
		rapid.Check(t, func(r *rapid.T) {
			c := newCluster(t, r, reached)
			c.slow = true
			for range rapid.IntRange(0, 60).Draw(r, "things") {
				if live := c.live(); len(live) > 0 && rapid.IntRange(0, 4).Draw(r, "work") < 4 {
					c.tick(live[rapid.IntRange(0, len(live)-1).Draw(r, "engine")])
					continue
				}
				c.fault()
			}
			c.slow = false
			c.getsOn()
		})
	}
	t.Logf("reached: %v", reached)
	for _, want := range []string{"killed", "hang", "planned", "stopping", "finished", "late", "relay", "called back", "hang before the change"} {
		if reached[want] == 0 {
			t.Errorf("nothing reached %q: the faults are too random to show anything", want)
		}
	}
}

// getsOn heals all nodes and lets everything run until the jobs have ended.
func (c *cluster) getsOn() {
	for _, n := range []string{"a", "b", "c"} {
		c.happens("uncordon " + n)
		if at, _ := c.S.View().Node(n); at.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE {
			c.happens("back " + n)
		}
	}
	for range 3000 {
		over := true
		for _, name := range jobs() {
			j, _ := c.S.View().Job(name)
			if over = over && state.JobFinal(j.GetState()); j.GetIntent() == tandemv1.JobIntent_JOB_INTENT_PAUSE && !state.JobFinal(j.GetState()) {
				c.happens("resume " + name)
			}
		}
		if over {
			break
		}
		busy := false
		for _, e := range c.live() {
			if !e.dead {
				busy = c.tick(e) || busy
			}
		}
		if !busy {
			c.happens("wait 1s")
			for _, e := range c.live() { // what hangs with nobody in its group to notice it, its agent ends
				if e.hangs && !e.dead {
					e.dead = true
					c.happens("killed " + e.id)
				}
			}
		}
	}
	for _, t := range c.S.View().Trials() {
		if t.GetState() != tandemv1.TrialState_TRIAL_STATE_COMPLETED {
			a, _ := c.S.View().Allocation(t.GetAllocationId())
			c.r.Fatalf("the job is stuck: %v\n%v\n%s", t, a, last(c.out.String(), 3000))
		}
	}
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }
