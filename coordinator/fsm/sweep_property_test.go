package fsm_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

var sweepIDs = []string{"job-1", "job-2"}

// sweepPrelude leads to three nodes and a sweep whose first trial waits with a checkpoint; the second sweep comes and goes.
var sweepPrelude = []string{
	prelude[0], prelude[1], prelude[2], prelude[3],
	`1 op create_job {"job": {"id": "job-1", "kind": "JOB_KIND_SWEEP", "spec": {"dataset_id": "data-1", "metric": "loss", "mode": "min", "resources": {"workers": 1, "max": 2}, "search": {}, "publish": {"model": "digits"}}}, "sweep": {"max_trials": 3}}`,
	`1 op decide_sweep {"sweep_id": "job-1", "through": 1, "decisions": [{"create": {"trial": 1, "trial_id": "trial-job-1-1", "until": 0.5, "spec": {"dataset_id": "data-1", "metric": "loss", "mode": "min"}}}]}`,
	`1 op apply_plan {"allocations": [{"id": "alloc-0", "trial_id": "trial-job-1-1", "members": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`,
	`1 op apply_reports {"node_id": "node-a", "incarnation": 1, "reports": [{"engine_id": "alloc-0/0", "generation": 1, "ready": {"total_steps": 100}}]}`,
	`1 op reform_allocation {"allocation_id": "alloc-0", "form": [0]}`,
	`1 op apply_reports {"node_id": "node-a", "incarnation": 1, "ids": ["", "ckpt-0", ""], "reports": [
		{"engine_id": "alloc-0/0", "generation": 1, "evaluation": {"step": 50, "metrics": {"loss": 5}}},
		{"engine_id": "alloc-0/0", "generation": 1, "checkpoint": {"checkpoint": {"step": 50, "prefix": "p", "manifest_sha256": "s", "metrics": {"loss": 5}}}},
		{"engine_id": "alloc-0/0", "generation": 1, "stopped": {"reached": true}}]}`,
}

// randomSweepCommand draws a command about sweeps that makes sense most of the time.
func randomSweepCommand(r *rapid.T, v *state.View) *tandemv1.Command {
	cmd := &tandemv1.Command{Actor: "fuzz"}
	id := one(r, sweepIDs, "sweep")
	s, _ := v.Sweep(id)
	trial := int32(rapid.IntRange(0, int(s.GetMade())+1).Draw(r, "trial"))
	node := one(r, nodeIDs, "node")
	n, _ := v.Node(node)
	switch rapid.IntRange(0, 24).Draw(r, "kind") {
	case 24:
		cmd.Command = randomDelete(r, id)
	case 0, 1, 2, 3, 4, 5:
		cmd.Command = &tandemv1.Command_DecideSweep{DecideSweep: randomDecisions(r, v, s, id)}
	case 6:
		if rapid.IntRange(0, 3).Draw(r, "often") > 0 {
			cmd.Command = &tandemv1.Command_ApplyPlan{ApplyPlan: sweepPlan(r, v)}
			break
		}
		cmd.Command = &tandemv1.Command_StopSweepTrial{StopSweepTrial: &tandemv1.StopSweepTrial{SweepId: id, Trial: trial}}
	case 7:
		cmd.Command = &tandemv1.Command_ExtendSweep{ExtendSweep: &tandemv1.ExtendSweep{SweepId: id, MaxTrials: s.GetMaxTrials() + int32(rapid.IntRange(0, 2).Draw(r, "more"))}}
	case 8:
		if rapid.IntRange(0, 3).Draw(r, "seldom") == 0 {
			cmd.Command = &tandemv1.Command_ExhaustSweep{ExhaustSweep: &tandemv1.ExhaustSweep{SweepId: id, Reason: "a limit"}}
			break
		}
		cmd.Command = &tandemv1.Command_CreateJob{CreateJob: &tandemv1.CreateJob{
			Job: &tandemv1.Job{Id: id, Kind: tandemv1.JobKind_JOB_KIND_SWEEP, Spec: &tandemv1.JobSpec{
				DatasetId: "data-1", Metric: "loss", Mode: "max", Resources: &tandemv1.ResourceSpec{Workers: 2, Min: 1}, Search: &tandemv1.SearchSpec{},
			}},
			Sweep: &tandemv1.Sweep{MaxTrials: 2},
		}}
	case 9:
		cmd.Command = &tandemv1.Command_SetJobIntent{SetJobIntent: &tandemv1.SetJobIntent{
			JobId: id, Intent: tandemv1.JobIntent(rapid.SampledFrom([]int{1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3}).Draw(r, "intent")),
		}}
	case 10:
		cmd.Command = &tandemv1.Command_RegisterNode{RegisterNode: &tandemv1.RegisterNode{Node: &tandemv1.Node{
			Id: node, Incarnation: max(1, n.GetIncarnation()+int64(rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 1}).Draw(r, "newer"))), Slots: []*tandemv1.Slot{{Id: "cpu0"}, {Id: "cpu1"}},
		}}}
	case 11, 12, 13, 14:
		cmd.Command = &tandemv1.Command_ApplyPlan{ApplyPlan: sweepPlan(r, v)}
	case 15, 16, 17:
		cmd.Command = &tandemv1.Command_ReformAllocation{ReformAllocation: randomReform(r, v)}
	default:
		cmd.Command = &tandemv1.Command_ApplyReports{ApplyReports: sweepReport(r, v, n)}
	}
	return cmd
}

// sweepPlan draws a plan whose allocation has an id of its own, as all have.
func sweepPlan(r *rapid.T, v *state.View) *tandemv1.ApplyPlan {
	plan := randomPlan(r, v)
	plan.GetAllocations()[0].Id = fmt.Sprintf("alloc-%d", v.Index())
	return plan
}

// sweepReport draws a report: one that trains gets on most of the time.
func sweepReport(r *rapid.T, v *state.View, n *tandemv1.Node) *tandemv1.ApplyReports {
	c := randomReport(r, v, n)
	c.Leaving = c.GetLeaving() && rapid.IntRange(0, 9).Draw(r, "seldom") == 0
	id, number, _ := state.ParseEngineID(c.GetReports()[0].GetEngineId())
	alloc, _ := v.Allocation(id)
	m := state.Member(alloc, number)
	if m.GetState() == tandemv1.MemberState_MEMBER_STATE_ASSIGNED && rapid.IntRange(0, 9).Draw(r, "gets ready") > 0 {
		c.GetReports()[0].Report = &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: 100}}
		return c
	}
	if alloc.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH && rapid.IntRange(0, 3).Draw(r, "publishes") > 0 {
		report := &tandemv1.EngineReport{EngineId: c.GetReports()[0].GetEngineId(), Generation: alloc.GetGeneration()}
		report.Report = &tandemv1.EngineReport_Version{Version: &tandemv1.VersionSaved{VersionId: state.VersionID(id), ManifestSha256: "s"}}
		if _, saved := v.Version(state.VersionID(id)); saved {
			report.Report = &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}
		}
		c.Reports = []*tandemv1.EngineReport{report}
		return c
	}
	if m.GetState() != tandemv1.MemberState_MEMBER_STATE_RUNNING || alloc.GetStage() != tandemv1.TrialStage_TRIAL_STAGE_TRAIN || rapid.IntRange(0, 9).Draw(r, "trains") == 0 {
		return c
	}
	step := int64(rapid.IntRange(1, 9).Draw(r, "step"))
	report := &tandemv1.EngineReport{EngineId: c.GetReports()[0].GetEngineId(), Generation: alloc.GetGeneration()}
	switch rapid.IntRange(0, 8).Draw(r, "work") {
	case 0, 1, 6, 7:
		report.Report = &tandemv1.EngineReport_Evaluation{Evaluation: &tandemv1.Evaluation{Step: step, Metrics: map[string]float64{"loss": float64(rapid.IntRange(0, 9).Draw(r, "loss"))}}}
	case 2, 3:
		c.Ids = []string{fmt.Sprintf("ckpt-%s-%d-%d", alloc.GetTrialId(), step, alloc.GetGeneration())}
		report.Report = &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: &tandemv1.Checkpoint{
			TrialId: alloc.GetTrialId(), Step: step, Prefix: "p", ManifestSha256: "s", Metrics: map[string]float64{"loss": float64(step)},
		}}}
	case 4, 5:
		report.Report = &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{Step: step, Reached: true}}
	default:
		report.Report = &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}
	}
	c.Reports = []*tandemv1.EngineReport{report}
	return c
}

func randomDecisions(r *rapid.T, v *state.View, s *tandemv1.Sweep, id string) *tandemv1.DecideSweep {
	c := &tandemv1.DecideSweep{SweepId: id, After: s.GetDecidedSeq(), Through: s.GetEventSeq()}
	if rapid.IntRange(0, 9).Draw(r, "blind") == 0 {
		c.After, c.Through = int64(rapid.IntRange(0, 5).Draw(r, "after")), int64(rapid.IntRange(0, 9).Draw(r, "through"))
	}
	made := s.GetMade()
	for range rapid.IntRange(0, 3).Draw(r, "decisions") {
		d := &tandemv1.SweepDecision{Reason: "because"}
		trial := int32(rapid.IntRange(0, int(made)).Draw(r, "trial"))
		until := rapid.SampledFrom([]float64{0.25, 0.5, 1}).Draw(r, "until")
		switch rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 4, 4, 4, 2, 3}).Draw(r, "decision") {
		case 0:
			made++
			create := &tandemv1.CreateTrial{Trial: made, TrialId: fmt.Sprintf("trial-%s-%d", id, made), Until: until, Spec: &tandemv1.JobSpec{DatasetId: "data-1", Metric: "loss", Mode: "min"}}
			if rapid.IntRange(0, 3).Draw(r, "from") == 0 {
				create.From = trial
			}
			if rapid.IntRange(0, 9).Draw(r, "problem") == 0 {
				create.Problem = "it cannot be right"
			}
			d.Decision = &tandemv1.SweepDecision_Create{Create: create}
		case 1:
			for _, t := range v.TrialsIn(id, tandemv1.TrialState_TRIAL_STATE_PAUSED) {
				trial = t.GetNumber()
			}
			d.Decision = &tandemv1.SweepDecision_Continue{Continue: &tandemv1.ContinueTrial{Trial: trial, Until: until}}
		case 2:
			d.Decision = &tandemv1.SweepDecision_Stop{Stop: &tandemv1.StopTrial{Trial: trial}}
		case 3:
			d.Decision = &tandemv1.SweepDecision_Finish{Finish: &tandemv1.FinishSweep{}}
		default:
			continue
		}
		c.Decisions = append(c.Decisions, d)
	}
	return c
}

// finishCommand ends a search.
func finishCommand(v *state.View, id string) *tandemv1.Command {
	s, _ := v.Sweep(id)
	c := &tandemv1.DecideSweep{SweepId: id, After: s.GetDecidedSeq(), Through: s.GetEventSeq(), Decisions: []*tandemv1.SweepDecision{
		{Decision: &tandemv1.SweepDecision_Finish{Finish: &tandemv1.FinishSweep{}}},
	}}
	for n := range s.GetMade() {
		c.Decisions = append(c.Decisions, &tandemv1.SweepDecision{Decision: &tandemv1.SweepDecision_Stop{Stop: &tandemv1.StopTrial{Trial: n + 1}}})
	}
	return &tandemv1.Command{Actor: "fuzz", Command: &tandemv1.Command_DecideSweep{DecideSweep: c}}
}

// TestSweepInvariants applies random commands about sweeps; the state must be sound after each, and the same however it came about.
func TestSweepInvariants(t *testing.T) {
	reached := map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		s, m := machine(t)
		var entries []*raft.Log
		spent := map[string]float64{} // by job: seconds that its members held slots, as the clock goes
		apply := func(cmd *tandemv1.Command) *tandemv1.Result {
			for _, a := range s.View().Allocations() {
				spent[a.GetJobId()] += float64(len(a.GetMembers()))
			}
			cmd.Time = &timestamppb.Timestamp{Seconds: int64(len(entries))}
			entries = append(entries, entry(t, uint64(len(entries)+1), cmd))
			result := m.Apply(entries[len(entries)-1]).(*tandemv1.Result)
			maps.DeleteFunc(spent, func(job string, _ float64) bool { _, ok := s.View().Job(job); return !ok })
			for _, sw := range s.View().Sweeps() {
				if total, _ := state.SlotSeconds(s.View(), sw, float64(cmd.GetTime().GetSeconds())); total != spent[sw.GetId()] {
					r.Fatalf("sweep %v has held slots for %v seconds, not %v", sw, spent[sw.GetId()], total)
				}
			}
			return result
		}
		for _, line := range sweepPrelude {
			cmd, err := parseCommand(line)
			if err != nil {
				t.Fatal(err)
			}
			apply(cmd)
		}
		commands := rapid.SampledFrom([]int{20, 150, 300}).Draw(r, "commands")
		for i := range commands {
			before := s.View()
			cmd := randomSweepCommand(r, before)
			switch i {
			case commands / 2:
				cmd = finishCommand(before, sweepIDs[0])
			case commands * 2 / 3:
				cmd = finishCommand(before, sweepIDs[1])
			}
			result := apply(cmd)
			after := s.View()
			sound(r, before, after)
			for _, sw := range after.Sweeps() {
				j, _ := after.Job(sw.GetId())
				reached[j.GetState().String()]++
				reached["published"] += min(1, len(j.GetPublishedVersion()))
			}
			if result.GetRefusal() != 0 && (say.Reason(result.GetWhy(), say.CLI) == "" || changed(before, after, false)) {
				r.Fatalf("refusal %v says nothing or has changed the state", result)
			}
			if cmd.GetApplyReports() != nil && !cmd.GetApplyReports().GetLeaving() {
				again := apply(proto.Clone(cmd).(*tandemv1.Command))
				repeatedReport(r, cmd, after, s.View(), result, again)
				sound(r, after, s.View())
			}
		}
		reached["deleted"] += len(s.View().Garbage())
		for _, sw := range s.View().Sweeps() {
			for word := range sw.GetTrials() {
				reached[word]++
			}
			for _, trial := range s.View().TrialsAfter(sw.GetId(), 0, 0) {
				reached["begins from another"] += len(trial.GetStartCheckpointId())
			}
		}
		if len(entries) < 40 {
			sameHoweverApplied(t, entries, snapshotOf(t, s))
		}
	})
	t.Logf("reached: %v", reached)
	for _, want := range []string{"JOB_STATE_FAILED", "JOB_STATE_PAUSED", "JOB_STATE_CANCELLED", "JOB_STATE_COMPLETED", "JOB_STATE_RUNNING", "JOB_STATE_PENDING",
		"published", "running", "pending", "paused", "completed", "failed", "stopped", "begins from another", "deleted"} {
		if reached[want] == 0 {
			t.Errorf("no sequence reached %s: the commands are too random to show anything", want)
		}
	}
}

// repeatedReport checks that a report which came again made no event, and had the same answer.
func repeatedReport(r *rapid.T, cmd *tandemv1.Command, before, after *state.View, first, again *tandemv1.Result) {
	for _, old := range before.Sweeps() {
		s, _ := after.Sweep(old.GetId())
		if s.GetEventSeq() != old.GetEventSeq() {
			r.Fatalf("a report that came again made event %d: %v", s.GetEventSeq(), after.SweepEvents(s.GetId(), old.GetEventSeq(), 0))
		}
	}
	for i, seq := range first.GetSeqs() {
		if seq != 0 && (i >= len(again.GetSeqs()) || again.GetSeqs()[i] != seq) {
			r.Fatalf("%v was answered with %v, and again with %v", cmd, first, again)
		}
	}
}

// soundSweep checks what must hold for a sweep in every state, and from one state to the next.
func soundSweep(r *rapid.T, before, after *state.View, s *tandemv1.Sweep) {
	old, _ := before.Sweep(s.GetId())
	events := after.SweepEvents(s.GetId(), 0, 0)
	if s.GetDecidedSeq() > s.GetEventSeq() || int64(len(events)) != s.GetEventSeq() || s.GetDecidedSeq() < old.GetDecidedSeq() || s.GetEventSeq() < old.GetEventSeq() || s.GetSlotSeconds() < old.GetSlotSeconds() {
		r.Fatalf("sweep %v with %d events came after %v", s, len(events), old)
	}
	for i, e := range before.SweepEvents(s.GetId(), 0, 0) {
		if !proto.Equal(e, events[i]) {
			r.Fatalf("event %v was %v", events[i], e)
		}
	}
	counts := map[string]int32{}
	trials := after.TrialsAfter(s.GetId(), 0, 0)
	for i, t := range trials {
		counts[state.TrialWord(t.GetState())]++
		if t.GetNumber() != int32(i+1) {
			r.Fatalf("trial %v is number %d", t, i+1)
		}
	}
	if !maps.Equal(counts, s.GetTrials()) || s.GetMade() != int32(len(trials)) || s.GetMade() > s.GetMaxTrials() {
		r.Fatalf("sweep %v has %v of %d trials", s, counts, len(trials))
	}
	soundEvents(r, s, trials, events)
	soundSweepJob(r, after, s, trials)
}

// soundEvents checks that the events are what the trials have come to.
func soundEvents(r *rapid.T, s *tandemv1.Sweep, trials []*tandemv1.Trial, events []*tandemv1.SweepEvent) {
	measured, over := map[int32]int{}, map[int32]int{}
	for i, e := range events {
		if e.GetSeq() != int64(i+1) {
			r.Fatalf("event %v is number %d", e, i+1)
		}
		if m := e.GetMeasured(); m != nil {
			measured[m.GetTrial()]++
		}
		if end := e.GetEnded(); end != nil {
			if end.GetOutcome() != tandemv1.TrialOutcome_TRIAL_OUTCOME_REACHED {
				over[end.GetTrial()]++
			}
		}
	}
	for _, t := range trials {
		told := 0
		for _, e := range t.GetEvaluations() {
			if e.GetSeq() == 0 {
				continue
			}
			told++
			if m := events[e.GetSeq()-1].GetMeasured(); m.GetTrial() != t.GetNumber() || m.GetShare() != float64(e.GetStep())/float64(t.GetTotalSteps()) {
				r.Fatalf("evaluation %v of %v was told as %v", e, t, events[e.GetSeq()-1])
			}
		}
		final := 0
		if state.TrialFinal(t.GetState()) && t.GetState() != tandemv1.TrialState_TRIAL_STATE_CANCELLED {
			final = 1
		}
		if told != measured[t.GetNumber()] || over[t.GetNumber()] != final {
			r.Fatalf("of %v %d evaluations are told by %d events, its end by %d", t, told, measured[t.GetNumber()], over[t.GetNumber()])
		}
		if t.GetReached() && t.GetState() == tandemv1.TrialState_TRIAL_STATE_PENDING {
			r.Fatalf("%v waits for the search and for slots", t)
		}
	}
}

// soundSweepJob checks that the job is where its trials and the search are.
func soundSweepJob(r *rapid.T, v *state.View, s *tandemv1.Sweep, trials []*tandemv1.Trial) {
	j, _ := v.Job(s.GetId())
	best, number, running := "", int32(0), false
	for _, t := range v.TrialsOf(s.GetId()) {
		running = running || t.GetState() == tandemv1.TrialState_TRIAL_STATE_RUNNING
		if state.JobFinal(j.GetState()) && !state.TrialFinal(t.GetState()) {
			r.Fatalf("job %v has ended, but not %v", j, t)
		}
		if t.GetNumber() == 0 && t.GetStage() != tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
			r.Fatalf("trial %v has no number", t)
		}
		if c, ok := v.Checkpoint(t.GetStartCheckpointId()); t.GetStartCheckpointId() != "" && !state.TrialFinal(t.GetState()) && t.GetLatestCheckpointId() == "" && (!ok || v.CheckpointNeed(c) == nil) {
			r.Fatalf("trial %v begins from a checkpoint that may be deleted", t)
		}
	}
	for _, e := range v.SweepEvents(s.GetId(), 0, 0) {
		m := e.GetMeasured()
		if m == nil {
			continue
		}
		if better := best == "" || state.BetterValue(j.GetSpec(), m.GetValue(), bestValue(v, s, best)); better {
			best, number = fmt.Sprint(e.GetSeq()), m.GetTrial()
		} else if m.GetValue() == bestValue(v, s, best) {
			number = min(number, m.GetTrial())
		}
	}
	winner, _ := v.Trial(s.GetBestTrialId())
	if (best != "") != (s.GetBestTrialId() != "") || best != "" && (bestValue(v, s, best) != s.GetBestValue() || winner.GetNumber() != number) {
		r.Fatalf("the best of %v is at event %s", s, best)
	}
	completed := j.GetState() == tandemv1.JobState_JOB_STATE_COMPLETED || j.GetState() == tandemv1.JobState_JOB_STATE_FAILED
	switch {
	case completed && !s.GetFinished():
		r.Fatalf("job %v has ended before its search", j)
	case state.JobFinal(j.GetState()) != (j.GetFinishedAt() != nil) || say.Reason(j.GetWhy(), say.CLI) == "":
		r.Fatalf("job %v has no reason, or no end", j)
	case running && j.GetState() != tandemv1.JobState_JOB_STATE_RUNNING && counted(trials) > 0, j.GetState() == tandemv1.JobState_JOB_STATE_RUNNING && !running:
		r.Fatalf("job %v does not follow its trials", j)
	}
}

// counted is how many trials run.
func counted(trials []*tandemv1.Trial) (n int) {
	for _, t := range trials {
		if t.GetState() == tandemv1.TrialState_TRIAL_STATE_RUNNING {
			n++
		}
	}
	return n
}

// bestValue is the value that an event tells.
func bestValue(v *state.View, s *tandemv1.Sweep, seq string) float64 {
	for _, e := range v.SweepEvents(s.GetId(), 0, 0) {
		if fmt.Sprint(e.GetSeq()) == seq {
			return e.GetMeasured().GetValue()
		}
	}
	return 0
}
