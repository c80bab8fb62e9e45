package fsm_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"tandem.dev/coordinator/state"
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
	`1 op apply_plan {"allocations": [{"id": "alloc-0", "trial_id": "trial-0", "generation": 1, "ranks": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`,
	`1 op apply_reports {"node_id": "node-a", "incarnation": 1, "ids": ["ckpt-0", ""], "reports": [
		{"engine_id": "alloc-0/0", "generation": 1, "checkpoint": {"checkpoint": {"step": 1, "prefix": "p", "manifest_sha256": "s"}}},
		{"engine_id": "alloc-0/0", "generation": 1, "finished": {}}]}`,
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
	switch rapid.IntRange(0, 18).Draw(r, "kind") {
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
		cmd.Command = &tandemv1.Command_CordonNode{CordonNode: &tandemv1.CordonNode{NodeId: node, Cordoned: rapid.Bool().Draw(r, "cordoned")}}
	case 2:
		cmd.Command = &tandemv1.Command_SetJobIntent{SetJobIntent: &tandemv1.SetJobIntent{
			JobId: "job-" + one(r, jobIDs, "job"), Intent: tandemv1.JobIntent(rapid.SampledFrom([]int{0, 1, 1, 1, 2, 2, 3}).Draw(r, "intent")),
		}}
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

func randomJob(r *rapid.T) *tandemv1.CreateJob {
	id := one(r, jobIDs, "job")
	c := &tandemv1.CreateJob{
		Job: &tandemv1.Job{Id: "job-" + id, Kind: tandemv1.JobKind_JOB_KIND_TRAIN, Spec: &tandemv1.JobSpec{
			DatasetId: "data-1", Metric: "loss", Mode: "min",
			Resources: &tandemv1.ResourceSpec{Workers: int32(rapid.IntRange(1, 3).Draw(r, "workers"))},
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

func randomPlan(r *rapid.T, v *state.View) *tandemv1.ApplyPlan {
	trial, _ := v.Trial("trial-" + one(r, jobIDs, "trial"))
	var free [][2]string
	for _, n := range nodeIDs {
		for _, slot := range slotIDs {
			if _, held := state.UsageOf(v, n)[slot]; !held {
				free = append(free, [2]string{n, slot})
			}
		}
	}
	blind := rapid.IntRange(0, 4).Draw(r, "blind") == 0
	for _, t := range v.Trials() {
		if !blind && t.GetState() == tandemv1.TrialState_TRIAL_STATE_PENDING {
			trial = t
		}
	}
	j, _ := v.Job(trial.GetJobId())
	alloc := &tandemv1.Allocation{
		Id: one(r, allocs, "allocation"), TrialId: trial.GetId(),
		Generation: trial.GetGeneration() + int64(rapid.SampledFrom([]int{1, 1, 1, 1, 1, 0, -1, 2}).Draw(r, "generation")),
	}
	ranks := j.GetSpec().GetResources().GetWorkers()
	if trial.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH {
		ranks = 1
	}
	for i := range ranks {
		if !blind && int(i) < len(free) {
			alloc.Ranks = append(alloc.Ranks, &tandemv1.Rank{Rank: i, NodeId: free[i][0], SlotId: free[i][1]})
			continue
		}
		alloc.Ranks = append(alloc.Ranks, &tandemv1.Rank{Rank: i, NodeId: one(r, nodeIDs, "node"), SlotId: one(r, slotIDs, "slot")})
	}
	return &tandemv1.ApplyPlan{Allocations: []*tandemv1.Allocation{alloc}, PendingReasons: map[string]string{"trial-1": "waits", "trial-2": "waits"}}
}

func randomReport(r *rapid.T, v *state.View, n *tandemv1.Node) *tandemv1.ApplyReports {
	c := &tandemv1.ApplyReports{NodeId: n.GetId(), Incarnation: n.GetIncarnation(), Leaving: rapid.IntRange(0, 19).Draw(r, "leaving") == 0}
	id, rank := one(r, allocs, "allocation"), int32(rapid.IntRange(0, 2).Draw(r, "rank"))
	if here := v.AllocationsOf(n.GetId()); len(here) > 0 {
		id = here[rapid.IntRange(0, len(here)-1).Draw(r, "which")].GetId()
	}
	if rapid.IntRange(0, 1).Draw(r, "late") == 0 { // the cause of a loss comes after those that missed the rank
		for _, t := range v.Trials() {
			if cause := t.GetUnexplainedAllocationId(); cause != "" {
				c.Reports = []*tandemv1.EngineReport{{EngineId: state.EngineID(cause, rank), Generation: t.GetGeneration(),
					Report: &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: "broke"}}}}
				return c
			}
		}
	}
	alloc, _ := v.Allocation(id)
	for _, k := range alloc.GetRanks() {
		if k.GetNodeId() == n.GetId() && !state.RankEnded(k.GetState()) {
			rank = k.GetRank()
		}
	}
	report := &tandemv1.EngineReport{EngineId: state.EngineID(id, rank), Generation: alloc.GetGeneration()}
	kind := rapid.IntRange(0, 9).Draw(r, "report")
	if alloc.GetStage() == tandemv1.TrialStage_TRIAL_STAGE_PUBLISH && rapid.Bool().Draw(r, "publishes") {
		kind = 4
	}
	switch kind {
	case 0, 8:
		report.Report = &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: 100}}
	case 1:
		report.Report = &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{
			Message: "broke", Permanent: rapid.IntRange(0, 4).Draw(r, "permanent") < 2,
		}}
	case 9:
		report.Report = &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: "missed another one", PeerLost: true}}
	case 2:
		report.Report = &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{}}
	case 3:
		step := int64(rapid.IntRange(1, 5).Draw(r, "step"))
		c.Ids = []string{fmt.Sprintf("ckpt-%s-%d", id, step)}
		report.Report = &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: &tandemv1.Checkpoint{
			TrialId: alloc.GetTrialId(), Step: step, Prefix: "p", ManifestSha256: "s", Metrics: map[string]float64{"loss": float64(step % 3)},
		}}}
	case 4:
		report.Report = &tandemv1.EngineReport_Version{Version: &tandemv1.VersionSaved{VersionId: state.VersionID(id), ManifestSha256: "s"}}
	case 5:
		report.Report = &tandemv1.EngineReport_Evaluation{Evaluation: &tandemv1.Evaluation{Step: int64(rapid.IntRange(1, 5).Draw(r, "step"))}}
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
				if blames := slices.ContainsFunc(cmd.GetApplyReports().GetReports(), func(r *tandemv1.EngineReport) bool {
					return r.GetFailed() != nil && !r.GetFailed().GetPeerLost() || r.GetStopped() != nil || r.GetFinished() != nil
				}); grew < 0 || grew > 1 || grew == 1 && !blames {
					r.Fatalf("restarts of %v went up by %d because of %v", trial, grew, cmd)
				}
				if grew == 1 && old.GetUnexplainedAllocationId() != "" && trial.GetUnexplainedAllocationId() == "" {
					reached["late causes"]++
				}
			}
			if result.GetRefusal() != 0 && (result.GetMessage() == "" || changed(before, after, cmd.GetRequestId() != "")) {
				r.Fatalf("refusal %v says nothing or has changed the state", result)
			}
		}
		for _, j := range s.View().Jobs() {
			reached[j.GetState().String()]++
		}
		reached["versions"] += len(s.View().Versions())
		if len(entries) < 40 {
			sameHoweverApplied(t, entries, snapshotOf(t, s))
		}
	})
	t.Logf("reached: %v", reached)
	for _, want := range []string{"JOB_STATE_FAILED", "JOB_STATE_PAUSED", "JOB_STATE_CANCELLED", "JOB_STATE_RUNNING", "JOB_STATE_PENDING", "versions", "late causes"} {
		if reached[want] == 0 {
			t.Errorf("no sequence reached %s: the commands are too random to show anything", want)
		}
	}
}

// changed says whether anything but the remembered request differs.
func changed(before, after *state.View, request bool) bool {
	return len(before.Events(0)) != len(after.Events(0)) || !request && len(before.Requests()) != len(after.Requests())
}

// sound checks what must hold in every state, and from one state to the next.
func sound(r *rapid.T, before, after *state.View) {
	held := map[string]string{}
	hold := func(node, slot, engine string) {
		if other, taken := held[node+"/"+slot]; taken {
			r.Fatalf("slot %s of %s is held by %s and %s", slot, node, other, engine)
		}
		held[node+"/"+slot] = engine
		n, ok := after.Node(node)
		if !ok || n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE {
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
		ended := true
		for _, rank := range a.GetRanks() {
			hold(rank.GetNodeId(), rank.GetSlotId(), state.EngineID(a.GetId(), rank.GetRank()))
			ended = ended && state.RankEnded(rank.GetState())
		}
		if ended {
			r.Fatalf("all ranks of %s have ended, but it is still there", a.GetId())
		}
	}
	for _, rep := range after.Replicas() {
		if state.ReplicaLive(rep.GetState()) {
			hold(rep.GetNodeId(), rep.GetSlotId(), rep.GetId())
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
		if int32(j.GetState()) != int32(t.GetState()) || j.GetReason() == "" || state.JobFinal(j.GetState()) != (j.GetFinishedAt() != nil) {
			r.Fatalf("job %v does not follow its trial %v", j, t)
		}
		if t.GetRestarts() > 3 {
			r.Fatalf("trial %v was started again too often", t)
		}
	}
	usage, engines := 0, 0
	for _, n := range after.Nodes() {
		usage += len(state.UsageOf(after, n.GetId()))
		engines += len(state.Desired(after, n.GetId()))
	}
	if usage != len(held) || engines > usage {
		r.Fatalf("%d slots in use, %d held, %d engines desired", usage, len(held), engines)
	}
	for i, v := range after.VersionsOf("digits") {
		if v.GetNumber() != int64(i+1) {
			r.Fatalf("version %v is number %d", v, i+1)
		}
	}
}
