package placement

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/coordinator/fsm/fsmtest"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// play is a world in which it is decided after each thing that happens.
type play struct {
	*fsmtest.World
	out  strings.Builder
	ids  int
	at   map[string]string // engine -> node, also of those that are gone
	last *tandemv1.ReformAllocation
	said map[string]string // job -> its state and reason, as written last
}

func newPlay(t *testing.T) *play {
	p := &play{World: fsmtest.New(t), at: map[string]string{}, said: map[string]string{}}
	p.propose(&tandemv1.Command{Command: &tandemv1.Command_CreateDataset{CreateDataset: &tandemv1.CreateDataset{Dataset: &tandemv1.Dataset{Id: "data", Name: "data", Prefix: "data"}}}})
	return p
}

func (p *play) propose(cmd *tandemv1.Command) *tandemv1.Result {
	p.T.Helper()
	res, err := p.Propose(context.Background(), cmd)
	if err != nil {
		p.T.Fatal(err)
	}
	if res.GetRefusal() != 0 {
		p.say("refused: %s", say.Reason(res.GetWhy(), say.CLI))
	}
	return res
}

func (p *play) newID(prefix string) string { p.ids++; return fmt.Sprint(prefix, "-", p.ids) }

func (p *play) say(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

// lead decides until there is nothing more to decide, and says when it looks again.
func (p *play) lead() {
	p.T.Helper()
	for range 30 {
		decided := Decide(p.View(), silence, p.Now, p.newID)
		if decided.Plan != nil {
			res := p.propose(&tandemv1.Command{Command: &tandemv1.Command_ApplyPlan{ApplyPlan: decided.Plan}})
			for i, a := range decided.Plan.GetAllocations() {
				lent := ""
				if a.GetOnLoan() {
					lent = " on loan"
				}
				p.say("grant %s%s: %s", a.GetJobId(), lent, strings.TrimSpace(places(a.GetMembers())+" "+say.Clause(res.GetPartWhys()[i], say.CLI)))
			}
		}
		p.know()
		for _, c := range decided.Stops {
			p.stops(c)
		}
		for _, c := range decided.Reforms {
			p.decided(c)
		}
		p.know()
		if decided.Plan == nil && len(decided.Reforms)+len(decided.Stops) == 0 {
			if !decided.Wake.IsZero() {
				p.say("looks again in %v", decided.Wake.Sub(p.Now))
			}
			p.tell()
			return
		}
	}
	p.T.Fatalf("the deciders keep each other busy:\n%s", p.out.String())
}

// decided carries a decision out and writes it.
func (p *play) decided(c *tandemv1.ReformAllocation) {
	a, _ := p.S.View().Allocation(c.GetAllocationId())
	var parts []string
	for _, l := range c.GetLose() {
		parts = append(parts, fmt.Sprintf("lose %d (%s)", l.GetNumber(), say.Clause(l.GetWhy(), say.CLI)))
	}
	if len(c.GetForm()) > 0 {
		parts = append(parts, fmt.Sprintf("form %v", c.GetForm()))
	}
	if len(c.GetAdd()) > 0 {
		parts = append(parts, "add "+places(c.GetAdd()))
	}
	if c.GetStop() {
		parts = append(parts, "stop")
	}
	if why := say.Clause(c.GetWhy(), say.CLI); why != "" {
		parts = append(parts, strconv.Quote(why))
	}
	p.say("reform %s: %s", a.GetJobId(), strings.Join(parts, ", "))
	p.last = c
	p.propose(&tandemv1.Command{Command: &tandemv1.Command_ReformAllocation{ReformAllocation: c}})
}

// stops carries out that an allocation stops, and writes it.
func (p *play) stops(c *tandemv1.StopAllocation) {
	a, _ := p.S.View().Allocation(c.GetAllocationId())
	how := "with a checkpoint"
	if c.GetNow() {
		how = "now"
	}
	p.say("stop %s %s: %q", a.GetJobId(), how, say.Clause(c.GetWhy(), say.CLI))
	p.propose(&tandemv1.Command{Command: &tandemv1.Command_StopAllocation{StopAllocation: c}})
}

// know remembers where engines are.
func (p *play) know() {
	for _, a := range p.S.View().Allocations() {
		for _, m := range a.GetMembers() {
			p.at[state.EngineID(a.GetId(), m.GetNumber())] = m.GetNodeId()
		}
	}
}

// tell writes what became of the jobs.
func (p *play) tell() {
	explained := Explain(p.S.View(), silence, p.Now)
	for _, j := range p.S.View().JobsByID() {
		t := p.S.View().TrialsOf(j.GetId())[0]
		why := j.GetWhy()
		if better := explained[t.GetId()]; better != nil {
			why = better
		}
		text := strings.ToLower(strings.TrimPrefix(j.GetState().String(), "JOB_STATE_")) + ": " + say.Reason(why, say.CLI)
		if a, ok := p.S.View().Allocation(t.GetAllocationId()); ok {
			text += fmt.Sprintf(" [generation %d:", a.GetGeneration())
			for _, m := range a.GetMembers() {
				text += fmt.Sprintf(" %d=%s", m.GetNumber(), strings.ToLower(strings.TrimPrefix(m.GetState().String(), "MEMBER_STATE_")))
			}
			text += "]"
		}
		if p.said[j.GetId()] != text {
			p.say("%s %s", j.GetId(), text)
			p.said[j.GetId()] = text
		}
	}
}

func places(members []*tandemv1.Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.GetNodeId()+"/"+m.GetSlotId())
	}
	return strings.Join(all, " ")
}

// report sends a report of an engine, "job/member" or "allocation/member", with the generation committed now.
func (p *play) report(engine string, r *tandemv1.EngineReport) *tandemv1.Reason {
	p.T.Helper()
	owner, number, _ := strings.Cut(engine, "/")
	if trials := p.S.View().TrialsOf(owner); len(trials) > 0 {
		owner = trials[0].GetAllocationId()
	}
	r.EngineId = owner + "/" + number
	a, _ := p.S.View().Allocation(owner)
	if r.Generation == 0 {
		r.Generation = a.GetGeneration()
	}
	n, ok := p.S.View().Node(p.at[r.GetEngineId()])
	if !ok {
		p.T.Fatalf("nobody knows where engine %s is:\n%s", r.GetEngineId(), p.out.String())
	}
	res := p.propose(&tandemv1.Command{Command: &tandemv1.Command_ApplyReports{ApplyReports: &tandemv1.ApplyReports{
		NodeId: n.GetId(), Incarnation: n.GetIncarnation(), Reports: []*tandemv1.EngineReport{r}, Ids: []string{fmt.Sprint("ckpt-", p.S.Index())},
	}}})
	return res.GetPartWhys()[0]
}

// jobOf is the command that submits a job.
func (p *play) jobOf(name string, d *datadriven.TestData) *tandemv1.Command {
	spec := &tandemv1.JobSpec{
		DatasetId: "data", MaxRestarts: proto.Int32(3), Resources: &tandemv1.ResourceSpec{Pool: "default"}, Priority: p.number(d, "priority"),
	}
	d.MaybeScanArgs(p.T, "restarts", spec.MaxRestarts)
	if wall, ok := d.Arg("wall"); ok {
		spec.Limits = &tandemv1.LimitsSpec{Wall: wall.SingleVal(p.T)}
	}
	if want := labels(d); len(want) > 0 {
		spec.Placement = &tandemv1.PlacementSpec{Labels: want}
	}
	var after []*tandemv1.Predecessor
	if jobs, ok := d.Arg("after"); ok {
		for _, j := range strings.Split(jobs.SingleVal(p.T), ",") {
			after = append(after, &tandemv1.Predecessor{JobId: j})
		}
	}
	spec.Resources.Workers, spec.Resources.Min, spec.Resources.Max = p.number(d, "workers"), p.number(d, "min"), p.number(d, "max")
	project := ""
	d.MaybeScanArgs(p.T, "project", &project)
	return &tandemv1.Command{Command: &tandemv1.Command_CreateJob{CreateJob: &tandemv1.CreateJob{
		Job:   &tandemv1.Job{Id: name, Name: name, Project: project, Kind: tandemv1.JobKind_JOB_KIND_TRAIN, Spec: spec, After: after},
		Trial: &tandemv1.Trial{Id: name + "-trial"},
	}}}
}

func (p *play) duration(text string) time.Duration {
	p.T.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		p.T.Fatal(err)
	}
	return d
}

// labels are those of labels=(key:value,...).
func labels(d *datadriven.TestData) map[string]string {
	all := map[string]string{}
	if given, ok := d.Arg("labels"); ok {
		for _, pair := range given.Vals {
			key, value, _ := strings.Cut(pair, ":")
			all[key] = value
		}
	}
	return all
}

// number is the value of "key=number", or 0.
func (p *play) number(d *datadriven.TestData, key string) (n int32) {
	p.T.Helper()
	d.MaybeScanArgs(p.T, key, &n)
	return n
}

// happen lets one line of a scenario happen.
func (p *play) happen(line string) {
	p.T.Helper()
	cmd, args, err := datadriven.ParseLine(line)
	if err != nil {
		p.T.Fatal(err)
	}
	p.run(&datadriven.TestData{Cmd: cmd, CmdArgs: args, Pos: line})
}

// run lets happen what testdata/README.md describes, and then the loops.
func (p *play) run(d *datadriven.TestData) {
	p.T.Helper()
	name := ""
	if len(d.CmdArgs) > 0 {
		name = d.CmdArgs[0].Key
	}
	switch verb := d.Cmd; verb {
	case "node":
		p.propose(register(name, p.number(d, "slots"), 1))
	case "back":
		n, _ := p.S.View().Node(name)
		p.propose(register(name, int32(len(n.GetSlots())), n.GetIncarnation()+1))
	case "lose":
		n, _ := p.S.View().Node(name)
		p.propose(&tandemv1.Command{Command: &tandemv1.Command_LoseNode{LoseNode: &tandemv1.LoseNode{NodeId: name, Incarnation: n.GetIncarnation()}}})
	case "cordon", "drain", "uncordon":
		c := &tandemv1.CordonNode{NodeId: name, Cordoned: verb != "uncordon", Drain: verb == "drain"}
		if within, ok := d.Arg("deadline"); ok {
			c.Deadline = durationpb.New(p.duration(within.SingleVal(p.T)))
		}
		p.propose(&tandemv1.Command{Command: &tandemv1.Command_CordonNode{CordonNode: c}})
	case "disable", "enable":
		slot, _ := d.Arg("slot")
		p.propose(&tandemv1.Command{Command: &tandemv1.Command_SetSlot{SetSlot: &tandemv1.SetSlot{
			NodeId: name, SlotId: slot.SingleVal(p.T), Disabled: verb == "disable",
		}}})
	case "label":
		p.propose(&tandemv1.Command{Command: &tandemv1.Command_LabelNode{LabelNode: &tandemv1.LabelNode{NodeId: name, Labels: labels(d)}}})
	case "project":
		p.propose(&tandemv1.Command{Command: &tandemv1.Command_CreateProject{CreateProject: &tandemv1.CreateProject{
			Project: &tandemv1.Project{Name: name, Weight: float64(p.number(d, "weight"))},
		}}})
	case "job":
		p.propose(p.jobOf(name, d))
	case "scale":
		p.propose(&tandemv1.Command{Command: &tandemv1.Command_ScaleJob{ScaleJob: &tandemv1.ScaleJob{JobId: name, Workers: p.number(d, "workers")}}})
	case "set":
		update := &tandemv1.UpdateJob{JobId: name}
		if d.HasArg("priority") {
			update.Priority = proto.Int32(p.number(d, "priority"))
		}
		if to, ok := d.Arg("pool"); ok {
			update.Pool = proto.String(to.SingleVal(p.T))
		}
		p.propose(&tandemv1.Command{Command: &tandemv1.Command_UpdateJob{UpdateJob: update}})
	case "pause", "resume", "cancel":
		intent := tandemv1.JobIntent_JOB_INTENT_PAUSE
		if verb == "resume" {
			intent = tandemv1.JobIntent_JOB_INTENT_RUN
		}
		if verb == "cancel" {
			intent = tandemv1.JobIntent_JOB_INTENT_CANCEL
		}
		p.propose(&tandemv1.Command{Command: &tandemv1.Command_SetJobIntent{SetJobIntent: &tandemv1.SetJobIntent{JobId: name, Intent: intent}}})
	case "wait":
		p.Now = p.Now.Add(p.duration(name))
	case "level":
		p.Put(&tandemv1.Cluster{Id: "cluster", Level: p.number(d, "is")})
	case "leader": // a new one decides again on the same state
	case "again":
		p.decided(p.last)
	default:
		p.engines(d)
	}
	p.lead()
}

// engines lets engines report.
func (p *play) engines(d *datadriven.TestData) {
	p.T.Helper()
	var unreached, filtered []string
	if from, ok := d.Arg("from"); ok {
		unreached = strings.Split(from.SingleVal(p.T), ",")
	}
	if d.HasArg("filtered") {
		filtered = unreached
	}
	for _, a := range d.CmdArgs {
		engine := a.Key
		if !strings.Contains(engine, "/") {
			continue
		}
		r := &tandemv1.EngineReport{Generation: int64(p.number(d, "generation"))}
		switch step := int64(p.number(d, "step")); d.Cmd {
		case "ready":
			r.Report = &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: 100, Unreachable: unreached, Filtered: filtered}}
		case "formed":
			r.Report = &tandemv1.EngineReport_Formed{Formed: &tandemv1.GroupFormed{Step: step}}
		case "broken", "hung", "unreachable":
			r.Report = &tandemv1.EngineReport_Broken{Broken: &tandemv1.GroupBroken{
				Step: step, Message: "the connection broke", Hung: d.Cmd == "hung", Unreachable: unreached, Filtered: filtered,
			}}
		case "killed":
			r.Report = &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: "killed by signal 9"}}
		case "silent":
			r.Report = &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: "it hangs", Hung: true}}
		case "unrun":
			r.Report = &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: "the disk is full", NodeFault: true}}
		case "checkpoint":
			r.Report = &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: &tandemv1.Checkpoint{
				TrialId: strings.Split(engine, "/")[0] + "-trial", Step: step, Prefix: "p", ManifestSha256: fmt.Sprint(step),
			}}}
		case "stopped":
			r.Report = &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{}}
		case "finished":
			r.Report = &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}
		default:
			d.Fatalf(p.T, "unknown command %q", d.Cmd)
		}
		if refused := say.Clause(p.report(engine, r), say.CLI); refused != "" {
			p.say("%s is refused: %s", engine, refused)
		}
	}
}

func register(name string, slots int32, incarnation int64) *tandemv1.Command {
	n := fsmtest.Node(name, int(slots))
	n.Name, n.Incarnation, n.State, n.StateChangedAt = name, incarnation, 0, nil
	return &tandemv1.Command{Command: &tandemv1.Command_RegisterNode{RegisterNode: &tandemv1.RegisterNode{Node: n}}}
}

// TestReformScenarios runs testdata/reform/*.txt: what happens, and what the leader decides then (go test -rewrite accepts what comes out).
func TestReformScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/reform", func(t *testing.T, path string) {
		p := newPlay(t)
		datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string {
			p.out.Reset()
			p.run(d)
			return p.out.String()
		})
	})
}

// TestNodeFaultsEndNothing: however often a node cannot run an engine, that is no fault of the training, which waits without a limit.
func TestNodeFaultsEndNothing(t *testing.T) {
	for name, begins := range map[string]struct {
		first []string
		again []string
	}{
		"alone":       {[]string{"node b slots=1", "job j workers=1 restarts=0"}, []string{"unrun j/0"}},
		"with others": {[]string{"node a slots=1", "node b slots=1", "job j workers=2 restarts=0"}, []string{"ready j/0", "unrun j/1"}},
	} {
		p := newPlay(t)
		for _, line := range begins.first {
			p.happen(line)
		}
		for i := range 30 {
			if i > 0 {
				p.happen("wait 5m")
			}
			for _, line := range begins.again {
				p.happen(line)
			}
		}
		j, trial := p.S.View().JobsByID()[0], p.S.View().TrialsOf("j")[0]
		if state.JobFinal(j.GetState()) || trial.GetRestarts() != 0 {
			t.Errorf("%s: %v\n%v", name, j, trial)
		}
		if n, _ := p.S.View().Node("b"); n.GetFault().GetTimes() != 30 || n.GetFault().GetUntil().AsTime().Sub(p.Now) != 5*time.Minute {
			t.Errorf("%s: %v", name, n)
		}
		told := slices.ContainsFunc(p.S.View().Events(1000), func(e *tandemv1.Event) bool {
			return strings.Contains(say.Event(e, say.CLI), "Node b cannot run engines: The disk is full. Nothing is placed there for 10s")
		})
		if !told {
			t.Errorf("%s: no event says which node, why, and for how long", name)
		}
	}
}
