package fsm_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Few identities, so that commands meet each other.
var (
	nodeIDs = []string{"node-a", "node-b", "node-c"}
	slotIDs = []string{"cpu0", "cpu1"}
	jobIDs  = []string{"1", "2", "3", "4"}
	allocs  = []string{"alloc-1", "alloc-2", "alloc-3", "alloc-4", "alloc-5", "alloc-6", "alloc-7", "alloc-8"}
)

// prelude leads to three nodes and a checkpoint to publish.
var prelude = []string{
	`1 op create_dataset {"dataset": {"id": "data-1", "name": "d", "prefix": "p"}}`,
	`1 op register_node {"node": {"id": "node-a", "incarnation": 1, "slots": [{"id": "cpu0"}, {"id": "cpu1"}]}}`,
	`1 op register_node {"node": {"id": "node-b", "incarnation": 1, "slots": [{"id": "cpu0"}, {"id": "cpu1"}]}}`,
	`1 op register_node {"node": {"id": "node-c", "incarnation": 1, "slots": [{"id": "cpu0"}, {"id": "cpu1"}]}}`,
	`1 op create_job {"job": {"id": "job-0", "kind": "JOB_KIND_TRAIN", "spec": {"dataset_id": "data-1", "resources": {"workers": 1}}}, "trial": {"id": "trial-0"}}`,
	`1 op apply_plan {"allocations": [{"id": "alloc-0", "trial_id": "trial-0", "members": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`,
	`1 op apply_reports {"node_id": "node-a", "incarnation": 1, "reports": [{"engine_id": "alloc-0/0", "generation": 1, "ready": {}}]}`,
	`1 op reform_allocation {"allocation_id": "alloc-0", "form": [0]}`,
	`1 op apply_reports {"node_id": "node-a", "incarnation": 1, "ids": ["ckpt-0", ""], "reports": [
		{"engine_id": "alloc-0/0", "generation": 1, "checkpoint": {"checkpoint": {"step": 1, "prefix": "p", "manifest_sha256": "s"}}},
		{"engine_id": "alloc-0/0", "generation": 1, "finished": {}}]}`,
	`1 op create_job {"job": {"id": "job-1", "kind": "JOB_KIND_TRAIN", "spec": {"dataset_id": "data-1", "metric": "loss", "mode": "min", "resources": {"workers": 2, "min": 1, "max": 3}}}, "trial": {"id": "trial-1"}}`,
	`1 op apply_plan {"allocations": [{"id": "alloc-1", "trial_id": "trial-1", "members": [{"node_id": "node-b", "slot_id": "cpu0"}, {"node_id": "node-c", "slot_id": "cpu0"}]}]}`,
	`1 op apply_reports {"node_id": "node-b", "incarnation": 1, "reports": [{"engine_id": "alloc-1/0", "generation": 1, "ready": {}}]}`,
	`1 op apply_reports {"node_id": "node-c", "incarnation": 1, "reports": [{"engine_id": "alloc-1/1", "generation": 1, "ready": {}}]}`,
	`1 op reform_allocation {"allocation_id": "alloc-1", "form": [0, 1]}`,
}

func one(r *rapid.T, from []string, what string) string { return rapid.SampledFrom(from).Draw(r, what) }

// randomCommand draws a command that makes sense most of the time: it looks at the state for what could be next.
func randomCommand(r *rapid.T, v *state.View) *tandemv1.Command {
	cmd := &tandemv1.Command{Actor: "fuzz"}
	if rapid.IntRange(0, 4).Draw(r, "with request") == 0 {
		cmd.RequestId = fmt.Sprint("request-", rapid.IntRange(0, 20).Draw(r, "request"))
	}
	node := one(r, nodeIDs, "node")
	n, _ := v.Node(node)
	// The first are drawn more often than the last.
	switch rapid.SampledFrom([]int{20, 10, 5, 3, 21, 11, 6, 4, 22, 12, 23, 13, 24, 14, 15, 2, 0, 8, 9, 1, 30}).Draw(r, "kind") {
	case 0:
		cmd.Command = &tandemv1.Command_RegisterNode{RegisterNode: &tandemv1.RegisterNode{Node: &tandemv1.Node{
			Id: node, Incarnation: max(1, n.GetIncarnation()+int64(rapid.SampledFrom([]int{0, 0, 0, -1, 1}).Draw(r, "newer"))),
			Slots: []*tandemv1.Slot{{Id: "cpu0"}, {Id: "cpu1"}},
		}}}
	case 1:
		if rapid.IntRange(0, 3).Draw(r, "seldom") == 0 {
			cmd.Command = &tandemv1.Command_LoseNode{LoseNode: &tandemv1.LoseNode{NodeId: node, Incarnation: n.GetIncarnation()}}
			break
		}
		cmd.Command = &tandemv1.Command_CordonNode{CordonNode: &tandemv1.CordonNode{NodeId: node, Cordoned: rapid.Bool().Draw(r, "cordoned"), Drain: rapid.IntRange(0, 3).Draw(r, "drain") == 0}}
	case 2:
		cmd.Command = &tandemv1.Command_SetJobIntent{SetJobIntent: &tandemv1.SetJobIntent{
			JobId: "job-" + one(r, jobIDs, "job"), Intent: tandemv1.JobIntent(rapid.SampledFrom([]int{0, 1, 1, 1, 2, 2, 3}).Draw(r, "intent")),
		}}
	case 10, 11, 12, 13, 14:
		cmd.Command = &tandemv1.Command_ReformAllocation{ReformAllocation: randomReform(r, v)}
	case 15:
		cmd.Command = &tandemv1.Command_ScaleJob{ScaleJob: &tandemv1.ScaleJob{JobId: "job-" + one(r, jobIDs, "job"), Workers: int32(rapid.IntRange(0, 4).Draw(r, "workers"))}}
	case 30:
		cmd.Command = randomDelete(r, "job-"+one(r, jobIDs, "job"))
		if rapid.IntRange(0, 3).Draw(r, "version") == 0 {
			m, _ := v.Model("digits")
			cmd.Command = &tandemv1.Command_DeleteModel{DeleteModel: &tandemv1.DeleteModel{Model: "digits", Version: int64(rapid.IntRange(0, int(m.GetLatestVersion())).Draw(r, "number"))}}
		}
	case 3, 4:
		cmd.Command = &tandemv1.Command_CreateJob{CreateJob: randomJob(r)}
	case 5, 6, 7:
		cmd.Command = &tandemv1.Command_ApplyPlan{ApplyPlan: randomPlan(r, v)}
	case 8:
		cmd.Command = &tandemv1.Command_PutDeployment{PutDeployment: &tandemv1.PutDeployment{Deployment: &tandemv1.Deployment{
			Name: "digits", Replicas: int32(rapid.IntRange(1, 2).Draw(r, "replicas")),
		}}}
	case 9:
		d, _ := v.Deployment("digits")
		cmd.Command = &tandemv1.Command_ApplyRollout{ApplyRollout: &tandemv1.ApplyRollout{Name: "digits",
			Remove: []string{fmt.Sprint("replica-", rapid.IntRange(0, 5).Draw(r, "remove"))},
			Place: []*tandemv1.Replica{{Id: fmt.Sprint("replica-", rapid.IntRange(0, 5).Draw(r, "place")), Revision: d.GetRevision(),
				NodeId: node, SlotId: one(r, slotIDs, "slot")}},
		}}
	default:
		cmd.Command = &tandemv1.Command_ApplyReports{ApplyReports: randomReport(r, v, n)}
	}
	return cmd
}

// randomDelete deletes a job, or tries to: seldom, so that something happens to jobs before.
func randomDelete(r *rapid.T, job string) *tandemv1.Command_DeleteJobs {
	c := &tandemv1.DeleteJobs{JobIds: []string{job, "job-0"}}
	if rapid.IntRange(0, 2).Draw(r, "seldom") > 0 {
		c.JobIds = c.JobIds[1:]
	}
	return &tandemv1.Command_DeleteJobs{DeleteJobs: c}
}

func randomJob(r *rapid.T) *tandemv1.CreateJob {
	id := one(r, jobIDs, "job")
	workers := int32(rapid.IntRange(1, 3).Draw(r, "workers"))
	c := &tandemv1.CreateJob{
		Job: &tandemv1.Job{Id: "job-" + id, Kind: tandemv1.JobKind_JOB_KIND_TRAIN, Spec: &tandemv1.JobSpec{
			DatasetId: "data-1", Metric: "loss", Mode: "min",
			Resources: &tandemv1.ResourceSpec{Workers: workers, Min: int32(rapid.IntRange(1, int(workers)).Draw(r, "min")), Max: workers + int32(rapid.IntRange(0, 1).Draw(r, "max"))},
		}},
		Trial: &tandemv1.Trial{Id: "trial-" + id},
	}
	switch rapid.IntRange(0, 2).Draw(r, "publish") {
	case 0:
		c.Job.Kind = tandemv1.JobKind_JOB_KIND_PUBLISH
		c.Job.Spec.Publish = &tandemv1.PublishSpec{Model: "digits", CheckpointId: "ckpt-0"}
	case 1:
		c.Job.Spec.Publish = &tandemv1.PublishSpec{Model: "digits", Aliases: []string{"champion"}}
	}
	return c
}

func freeSlots(v *state.View) [][2]string {
	var free [][2]string
	for _, n := range nodeIDs {
		for _, slot := range slotIDs {
			if _, held := state.UsageOf(v, n)[slot]; !held {
				free = append(free, [2]string{n, slot})
			}
		}
	}
	return free
}

func randomPlan(r *rapid.T, v *state.View) *tandemv1.ApplyPlan {
	trial, _ := v.Trial("trial-" + one(r, jobIDs, "trial"))
	free := freeSlots(v)
	blind := rapid.IntRange(0, 4).Draw(r, "blind") == 0
	for _, t := range v.Trials() {
		if !blind && t.GetState() == tandemv1.TrialState_TRIAL_STATE_PENDING {
			trial = t
		}
	}
	j, _ := v.Job(trial.GetJobId())
	alloc := &tandemv1.Allocation{
		Id: one(r, allocs, "allocation"), TrialId: trial.GetId(),
		Generation: trial.GetGeneration() + int64(rapid.SampledFrom([]int{0, 0, 0, 0, 0, 1, -1, 2}).Draw(r, "generation")),
	}
	members := rapid.IntRange(1, int(max(1, j.GetSpec().GetResources().GetWorkers()))).Draw(r, "members")
	if trial.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
		alloc.Generation++
		members = 1
	}
	alloc.Members = places(r, members, free, blind)
	return &tandemv1.ApplyPlan{Allocations: []*tandemv1.Allocation{alloc}}
}

// places draws slots, free ones unless blind.
func places(r *rapid.T, n int, free [][2]string, blind bool) []*tandemv1.Member {
	var all []*tandemv1.Member
	for i := range n {
		m := &tandemv1.Member{NodeId: one(r, nodeIDs, "node"), SlotId: one(r, slotIDs, "slot")}
		if !blind && i < len(free) {
			m.NodeId, m.SlotId = free[i][0], free[i][1]
		}
		all = append(all, m)
	}
	return all
}

// randomReform draws a change of an allocation: its members in any combination, mostly such as can be.
func randomReform(r *rapid.T, v *state.View) *tandemv1.ReformAllocation {
	all := v.Allocations()
	if len(all) == 0 {
		return &tandemv1.ReformAllocation{AllocationId: "alloc-1"}
	}
	a := all[rapid.IntRange(0, len(all)-1).Draw(r, "which")]
	c := &tandemv1.ReformAllocation{
		AllocationId: a.GetId(), Generation: a.GetGeneration() + int64(rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, -1}).Draw(r, "generation")),
		Stop: rapid.IntRange(0, 7).Draw(r, "stop") == 7, Reason: rapid.SampledFrom([]string{"", "why"}).Draw(r, "reason"),
	}
	form := rapid.IntRange(0, 2).Draw(r, "form") < 2
	for _, m := range a.GetMembers() {
		switch {
		case m.GetState() == tandemv1.MemberState_MEMBER_STATE_RUNNING && state.GroupBroken(a), rapid.IntRange(0, 19).Draw(r, "lose") == 19:
			c.Lose = append(c.Lose, &tandemv1.LostMember{Number: m.GetNumber(), Reason: "did not answer"})
		case form && rapid.IntRange(0, 4).Draw(r, "in") < 4 && (m.GetState() != tandemv1.MemberState_MEMBER_STATE_ASSIGNED || rapid.IntRange(0, 9).Draw(r, "blind") == 0):
			c.Form = append(c.Form, m.GetNumber())
		}
	}
	if rapid.IntRange(0, 2).Draw(r, "add") == 0 {
		c.Add = places(r, 1, freeSlots(v), rapid.IntRange(0, 4).Draw(r, "blind") == 0)
	}
	return c
}

func randomReport(r *rapid.T, v *state.View, n *tandemv1.Node) *tandemv1.ApplyReports {
	c := &tandemv1.ApplyReports{NodeId: n.GetId(), Incarnation: n.GetIncarnation(), Leaving: rapid.IntRange(0, 19).Draw(r, "leaving") == 19}
	id, number := one(r, allocs, "allocation"), int32(rapid.IntRange(0, 2).Draw(r, "member"))
	if here := v.AllocationsOf(n.GetId()); len(here) > 0 {
		id = here[rapid.IntRange(0, len(here)-1).Draw(r, "which")].GetId()
	}
	alloc, _ := v.Allocation(id)
	for _, m := range alloc.GetMembers() {
		if m.GetNodeId() == n.GetId() && !state.MemberEnded(m.GetState()) && (number != m.GetNumber() || rapid.Bool().Draw(r, "this")) {
			number = m.GetNumber()
		}
	}
	report := &tandemv1.EngineReport{EngineId: state.EngineID(id, number), Generation: alloc.GetGeneration()}
	kind := rapid.IntRange(0, 12).Draw(r, "report")
	if alloc.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH && rapid.Bool().Draw(r, "publishes") {
		kind = 4
	}
	if rapid.IntRange(0, 9).Draw(r, "gets on") < 7 {
		switch m := state.Member(alloc, number); {
		case m.GetState() == tandemv1.MemberState_MEMBER_STATE_ASSIGNED:
			kind = 0
		case m.GetState() == tandemv1.MemberState_MEMBER_STATE_RUNNING && !state.GroupFormed(alloc):
			kind = 12
		}
	}
	switch kind {
	case 0, 8, 10:
		report.Report = &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: 100}}
	case 1:
		report.Report = &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{
			Message: "broke", Permanent: rapid.IntRange(0, 4).Draw(r, "permanent") < 2, Diverged: rapid.IntRange(0, 4).Draw(r, "diverged") == 0,
			NodeFault: rapid.IntRange(0, 4).Draw(r, "node fault") == 0,
		}}
	case 9, 11:
		report.Report = &tandemv1.EngineReport_Broken{Broken: &tandemv1.GroupBroken{
			Message: "missed another one", Step: int64(rapid.IntRange(0, 9).Draw(r, "step")), Hung: rapid.Bool().Draw(r, "hung"),
		}}
	case 12:
		report.Report = &tandemv1.EngineReport_Formed{Formed: &tandemv1.GroupFormed{Step: int64(rapid.IntRange(0, 9).Draw(r, "step"))}}
	case 2:
		report.Report = &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{Reached: rapid.Bool().Draw(r, "reached")}}
	case 3:
		step := int64(rapid.IntRange(1, 5).Draw(r, "step"))
		c.Ids = []string{fmt.Sprintf("ckpt-%s-%d", id, step)}
		report.Report = &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: &tandemv1.Checkpoint{
			TrialId: alloc.GetTrialId(), Step: step, Prefix: "p", ManifestSha256: "s", Metrics: map[string]float64{"loss": float64(step % 3)},
		}}}
	case 4:
		report.Report = &tandemv1.EngineReport_Version{Version: &tandemv1.VersionSaved{VersionId: state.VersionID(id), ManifestSha256: "s"}}
	case 5:
		report.Report = &tandemv1.EngineReport_Evaluation{Evaluation: &tandemv1.Evaluation{
			Step: int64(rapid.IntRange(1, 5).Draw(r, "step")), Metrics: map[string]float64{"loss": float64(rapid.IntRange(0, 9).Draw(r, "loss"))},
		}}
	default:
		report.Report = &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}
	}
	c.Reports = []*tandemv1.EngineReport{report}
	return c
}

// TestInvariants applies random commands; the state must be sound after each, and the same however it came about.
func TestInvariants(t *testing.T) {
	reached := map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		s, m := machine(t)
		var entries []*raft.Log
		apply := func(cmd *tandemv1.Command) *tandemv1.Result {
			cmd.Time = &timestamppb.Timestamp{Seconds: int64(len(entries))}
			entries = append(entries, entry(t, uint64(len(entries)+1), cmd))
			return m.Apply(entries[len(entries)-1]).(*tandemv1.Result)
		}
		for _, line := range prelude {
			cmd, err := parseCommand(line)
			if err != nil {
				t.Fatal(err)
			}
			apply(cmd)
		}
		for range rapid.SampledFrom([]int{20, 100, 150}).Draw(r, "commands") {
			before := s.View()
			cmd := randomCommand(r, before)
			result := apply(cmd)
			after := s.View()
			sound(r, before, after)
			for _, trial := range after.Trials() {
				old, _ := before.Trial(trial.GetId())
				grew := trial.GetRestarts() - old.GetRestarts()
				blames := len(cmd.GetReformAllocation().GetLose()) > 0 || slices.ContainsFunc(cmd.GetApplyReports().GetReports(), func(r *tandemv1.EngineReport) bool {
					return r.GetFailed() != nil || r.GetStopped() != nil || r.GetFinished() != nil
				})
				if grew < 0 || grew > 1 || grew == 1 && !blames {
					r.Fatalf("restarts of %v went up by %d because of %v", trial, grew, cmd)
				}
			}
			for _, a := range after.Allocations() {
				seen(reached, a)
			}
			if result.GetRefusal() != 0 && (say.Reason(result.GetWhy(), say.CLI) == "" || changed(before, after, cmd.GetRequestId() != "")) {
				r.Fatalf("refusal %v says nothing or has changed the state", result)
			}
		}
		for _, j := range s.View().Jobs() {
			reached[j.GetState().String()]++
		}
		reached["versions"] += len(s.View().Versions())
		reached["deleted"] += len(s.View().Garbage())
		if len(entries) < 40 {
			sameHoweverApplied(t, entries, snapshotOf(t, s))
		}
	})
	t.Logf("reached: %v", reached)
	for _, want := range []string{"JOB_STATE_FAILED", "JOB_STATE_PAUSED", "JOB_STATE_CANCELLED", "JOB_STATE_RUNNING", "JOB_STATE_PENDING", "versions", "broken", "planned", "leaving", "deleted"} {
		if reached[want] == 0 {
			t.Errorf("no sequence reached %s: the commands are too random to show anything", want)
		}
	}
}

// seen notes what an allocation has come to.
func seen(reached map[string]int, a *tandemv1.Allocation) {
	if state.GroupBroken(a) {
		reached["broken"]++
	}
	if a.GetGroup().GetPlanned() {
		reached["planned"]++
	}
	reached["leaving"] += len(state.MembersIn(a, tandemv1.MemberState_MEMBER_STATE_LEAVING))
}

// changed says whether anything but the remembered request differs.
func changed(before, after *state.View, request bool) bool {
	return len(before.Events(0)) != len(after.Events(0)) || !request && len(before.Requests()) != len(after.Requests())
}

// sound checks what must hold in every state, and from one state to the next.
func sound(r *rapid.T, before, after *state.View) {
	held := map[string]string{}
	hold := func(node, slot, engine string, ended bool) {
		if other, taken := held[node+"/"+slot]; taken {
			r.Fatalf("slot %s of %s is held by %s and %s", slot, node, other, engine)
		}
		held[node+"/"+slot] = engine
		n, ok := after.Node(node)
		if !ended && (!ok || n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE) {
			r.Fatalf("%s is on node %s, which is not alive", engine, node)
		}
	}
	of := map[string]string{}
	for _, a := range after.Allocations() {
		t, ok := after.Trial(a.GetTrialId())
		if !ok || t.GetState() != tandemv1.TrialState_TRIAL_STATE_RUNNING || t.GetAllocationId() != a.GetId() || t.GetGeneration() != a.GetGeneration() || t.GetStage() != a.GetStage() {
			r.Fatalf("allocation %v is not the one of trial %v", a, t)
		}
		of[t.GetId()] = a.GetId()
		soundMembers(r, before, a)
		for _, m := range a.GetMembers() {
			hold(m.GetNodeId(), m.GetSlotId(), state.EngineID(a.GetId(), m.GetNumber()), state.MemberEnded(m.GetState()))
		}
	}
	for _, rep := range after.Replicas() {
		if state.ReplicaLive(rep.GetState()) {
			hold(rep.GetNodeId(), rep.GetSlotId(), rep.GetId(), false)
		}
	}
	for _, t := range after.Trials() {
		running := t.GetState() == tandemv1.TrialState_TRIAL_STATE_RUNNING
		if running != (of[t.GetId()] != "") || running != (t.GetAllocationId() != "") {
			r.Fatalf("trial %v runs without an allocation, or holds one without running", t)
		}
		old, _ := before.Trial(t.GetId())
		if t.GetGeneration() < old.GetGeneration() || state.TrialFinal(old.GetState()) && t.GetState() != old.GetState() {
			r.Fatalf("trial %v came after %v", t, old)
		}
		j, _ := after.Job(t.GetJobId())
		if j.GetKind() == tandemv1.JobKind_JOB_KIND_SWEEP {
			continue
		}
		if int32(j.GetState()) != int32(t.GetState()) || say.Reason(j.GetWhy(), say.CLI) == "" || state.JobFinal(j.GetState()) != (j.GetFinishedAt() != nil) {
			r.Fatalf("job %v does not follow its trial %v", j, t)
		}
		if t.GetRestartsInRow() > 3 { // of all there may be more: those before it got on
			r.Fatalf("trial %v was started again too often", t)
		}
	}
	for _, s := range after.Sweeps() {
		soundSweep(r, before, after, s)
	}
	complete(r, after)
	usage, engines := 0, 0
	for _, n := range after.Nodes() {
		usage += len(state.UsageOf(after, n.GetId()))
		engines += len(state.Desired(after, n.GetId()))
	}
	if usage != len(held) || engines > usage {
		r.Fatalf("%d slots in use, %d held, %d engines desired", usage, len(held), engines)
	}
	m, _ := before.Model("digits")
	given := max(m.GetLatestVersion(), before.LastNumber("model", "digits"))
	for _, v := range after.VersionsOf("digits") {
		if _, old := before.Version(v.GetId()); old {
			continue
		}
		if given++; v.GetNumber() != given {
			r.Fatalf("version %v is number %d", v, given)
		}
	}
}

// complete checks that nothing is left of what was deleted, and nothing is gone that something needs.
func complete(r *rapid.T, v *state.View) {
	for _, t := range v.Trials() {
		if _, ok := v.Job(t.GetJobId()); !ok {
			r.Fatalf("trial %v is left of a job that was deleted", t)
		}
	}
	for _, c := range v.Checkpoints() {
		if _, ok := v.Trial(c.GetTrialId()); !ok {
			r.Fatalf("checkpoint %v is left of a job that was deleted", c)
		}
	}
	for _, e := range v.AllSweepEvents() {
		if _, ok := v.Sweep(e.GetSweepId()); !ok {
			r.Fatalf("event %v is left of a sweep that was deleted", e)
		}
	}
	for _, s := range v.Sweeps() {
		if _, ok := v.Job(s.GetId()); !ok {
			r.Fatalf("sweep %v is left of a job that was deleted", s)
		}
	}
	for _, d := range v.Deployments() {
		if _, ok := v.Version(d.GetVersionId()); !ok {
			r.Fatalf("the version that %v serves was deleted", d)
		}
	}
	for _, m := range v.Models() {
		if _, ok := v.VersionNumber(m.GetName(), m.GetLatestVersion()); !ok {
			r.Fatalf("the newest version of %v was deleted", m)
		}
		for _, alias := range m.GetAliases() {
			if _, ok := v.VersionNumber(m.GetName(), alias.GetVersion()); !ok {
				r.Fatalf("the version that an alias of %v points to was deleted", m)
			}
		}
	}
	for _, j := range v.Jobs() {
		if source := j.GetSpec().GetPublish().GetCheckpointId(); source != "" && !state.JobFinal(j.GetState()) {
			if _, ok := v.Checkpoint(source); !ok {
				r.Fatalf("the checkpoint that %v publishes was deleted", j)
			}
		}
	}
}

// soundMembers checks what must hold for the members of an allocation.
func soundMembers(r *rapid.T, before *state.View, a *tandemv1.Allocation) {
	old, _ := before.Allocation(a.GetId())
	ranks, live, ended := map[int32]bool{}, 0, 0
	for _, m := range a.GetMembers() {
		if m.GetNumber() >= a.GetNextMember() || state.Member(old, m.GetNumber()) == nil && m.GetNumber() < old.GetNextMember() {
			r.Fatalf("member %v of %v was there before", m, a)
		}
		grouped := state.HoldsState(m)
		if state.InGroup(m) {
			if ranks[m.GetRank()] || m.GetRank() >= max(1, a.GetGroup().GetWorldSize()) {
				r.Fatalf("rank %d of %v occurs twice, or too high", m.GetRank(), a)
			}
			ranks[m.GetRank()] = true
		}
		switch {
		case state.MemberEnded(m.GetState()):
			ended++
		case grouped || !state.HasGroup(a):
			live++
		}
		if grouped && !state.InGroup(m) && !state.GroupBroken(a) || m.GetState() == tandemv1.MemberState_MEMBER_STATE_BROKEN && !state.GroupBroken(a) || !grouped && state.InGroup(m) && state.HasGroup(a) && !state.MemberEnded(m.GetState()) {
			r.Fatalf("member %v does not fit %v", m, a)
		}
	}
	if len(a.GetMembers()) == 0 || live == 0 && ended > 0 {
		r.Fatalf("all members of %v have ended, but it is still there", a)
	}
	if state.GroupWorks(a) && len(ranks) != int(a.GetGroup().GetWorldSize()) {
		r.Fatalf("%v lacks ranks, but is not broken", a)
	}
	resized := old != nil && a.GetGroup().GetWorldSize() != old.GetGroup().GetWorldSize()
	if a.GetGeneration() < old.GetGeneration() || a.GetGeneration() == old.GetGeneration() && resized {
		r.Fatalf("%v came after %v", a, old)
	}
}
