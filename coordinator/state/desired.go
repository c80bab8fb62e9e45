package state

import (
	"fmt"
	"strings"

	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/layout"
)

// Desired returns every engine that should be on a node, members first, each group by identity. All others on the node
// are to be stopped. A task does not change while it is there, but for the process group, broken and stopping.
func Desired(v *View, nodeID string) []*tandemv1.EngineTask {
	node, ok := v.Node(nodeID)
	if !ok || node.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE {
		return nil
	}
	cluster, _ := v.Cluster()
	var tasks []*tandemv1.EngineTask
	for _, a := range v.AllocationsOf(nodeID) {
		for _, m := range a.GetMembers() {
			if m.GetNodeId() != nodeID || MemberEnded(m.GetState()) {
				continue
			}
			t := memberTask(v, node, a, m)
			t.Storage = cluster.GetStorage()
			tasks = append(tasks, t)
		}
	}
	for _, r := range v.ReplicasOn(nodeID) {
		if ReplicaLive(r.GetState()) {
			t := replicaTask(v, r)
			t.Storage = cluster.GetStorage()
			tasks = append(tasks, t)
		}
	}
	return tasks
}

func memberTask(v *View, node *tandemv1.Node, a *tandemv1.Allocation, m *tandemv1.Member) *tandemv1.EngineTask {
	t := &tandemv1.EngineTask{
		Id:         EngineID(a.GetId(), m.GetNumber()),
		Generation: m.GetGeneration(),
		SlotId:     m.GetSlotId(),
	}
	if kind.StageOf(a).Publishes {
		t.Task = &tandemv1.EngineTask_Publish{Publish: publishTask(v, a)}
	} else {
		t.Task = &tandemv1.EngineTask_Train{Train: trainTask(v, node, a, m)}
	}
	return t
}

func trainTask(v *View, node *tandemv1.Node, a *tandemv1.Allocation, m *tandemv1.Member) *tandemv1.TrainTask {
	job, _ := v.Job(a.GetJobId())
	trial, _ := v.Trial(a.GetTrialId())
	dataset, _ := v.Dataset(job.GetSpec().GetDatasetId())
	t := &tandemv1.TrainTask{
		JobId:            a.GetJobId(),
		TrialId:          a.GetTrialId(),
		AllocationId:     a.GetId(),
		Spec:             SpecOf(job, trial),
		SpecHash:         SpecHashOf(job, trial),
		Until:            trial.GetUntil(),
		InSweep:          kind.Of(job).Searches,
		Member:           m.GetNumber(),
		Group:            groupOf(v, a, m),
		BindHost:         host(node.GetAddress()),
		DatasetPrefix:    dataset.GetPrefix(),
		CheckpointPrefix: layout.Checkpoints(a.GetTrialId()),
		Stopping:         a.GetStopping(),
	}
	if m.GetState() == tandemv1.MemberState_MEMBER_STATE_ASSIGNED {
		t.Peers = peersOf(v, a, m)
	}
	t.Broken = t.GetGroup() != nil && GroupBroken(a)
	if c, ok := v.Checkpoint(a.GetResumeCheckpointId()); ok {
		t.Resume = c
	}
	if kind.Of(job).Replays {
		trained, _ := v.Job(t.GetResume().GetJobId())
		of, _ := v.Trial(t.GetResume().GetTrialId())
		t.Replay = &tandemv1.ReplayTask{TrialId: t.GetResume().GetTrialId(), SpecHash: SpecHashOf(trained, of)}
	}
	return t
}

// groupOf is the committed process group as a member sees it; nil when it has no part in it and is not to leave.
func groupOf(v *View, a *tandemv1.Allocation, m *tandemv1.Member) *tandemv1.ProcessGroup {
	leaves := !InGroup(m) && (m.GetState() == tandemv1.MemberState_MEMBER_STATE_LEAVING || HoldsState(m))
	if !InGroup(m) && !leaves {
		return nil
	}
	g := &tandemv1.ProcessGroup{
		Generation: a.GetGeneration(),
		Rank:       m.GetRank(),
		WorldSize:  a.GetGroup().GetWorldSize(),
		LocalRank:  m.GetLocalRank(),
		Planned:    a.GetGroup().GetPlanned(),
		Formed:     leaves && GroupFormed(a),
		Relay:      a.GetGroup().GetRelay(),
	}
	if InGroup(m) {
		g.Peers = peersOf(v, a, m)
	}
	return g
}

// peersOf are the nodes that have ranks in the committed group, but for that of the member.
func peersOf(v *View, a *tandemv1.Allocation, m *tandemv1.Member) []*tandemv1.PeerNode {
	var peers []*tandemv1.PeerNode
	known := map[string]bool{m.GetNodeId(): true}
	for _, o := range a.GetMembers() {
		if n, ok := v.Node(o.GetNodeId()); ok && InGroup(o) && !known[n.GetId()] {
			known[n.GetId()] = true
			peers = append(peers, &tandemv1.PeerNode{NodeId: n.GetId(), Name: n.GetName(), Address: n.GetAddress(), EngineAddress: o.GetAddress()})
		}
	}
	return peers
}

func publishTask(v *View, a *tandemv1.Allocation) *tandemv1.PublishTask {
	job, _ := v.Job(a.GetJobId())
	version := VersionID(a.GetId())
	t := &tandemv1.PublishTask{
		JobId:         a.GetJobId(),
		TrialId:       a.GetTrialId(),
		AllocationId:  a.GetId(),
		Model:         job.GetSpec().GetPublish().GetModel(),
		VersionId:     version,
		VersionPrefix: layout.Version(version),
	}
	checkpoint, ok := v.Checkpoint(a.GetResumeCheckpointId())
	if !ok {
		return t
	}
	trained, _ := v.Job(checkpoint.GetJobId())
	of, _ := v.Trial(checkpoint.GetTrialId())
	dataset, _ := v.Dataset(trained.GetSpec().GetDatasetId())
	t.Spec = SpecOf(trained, of)
	t.Checkpoint = checkpoint
	t.Lineage = LineageOf(v, checkpoint)
	t.DatasetPrefix = dataset.GetPrefix()
	t.Incumbents = incumbents(v, job)
	return t
}

// incumbents are the versions that a publication has to be better than, each once.
func incumbents(v *View, j *tandemv1.Job) (all []*tandemv1.Incumbent) {
	known := map[string]bool{}
	for _, alias := range j.GetSpec().GetPublish().GetAliases() {
		if of, ok := Incumbent(v, j, alias); ok && !known[of.GetId()] {
			known[of.GetId()] = true
			all = append(all, &tandemv1.Incumbent{VersionId: of.GetId(), Prefix: of.GetPrefix(), ManifestSha256: of.GetManifestSha256()})
		}
	}
	return all
}

func replicaTask(v *View, r *tandemv1.Replica) *tandemv1.EngineTask {
	version, _ := v.Version(r.GetVersionId())
	_, model := SplitKey(r.GetDeployment())
	return &tandemv1.EngineTask{
		Id:     r.GetId(),
		SlotId: r.GetSlotId(),
		Task: &tandemv1.EngineTask_Serve{Serve: &tandemv1.ServeTask{
			ReplicaId:      r.GetId(),
			Model:          model,
			Version:        r.GetVersion(),
			VersionPrefix:  version.GetPrefix(),
			ManifestSha256: version.GetManifestSha256(),
		}},
	}
}

// LineageOf says where a version made of a checkpoint comes from.
func LineageOf(v *View, c *tandemv1.Checkpoint) *tandemv1.Lineage {
	job, _ := v.Job(c.GetJobId())
	trial, _ := v.Trial(c.GetTrialId())
	l := &tandemv1.Lineage{
		JobId:        c.GetJobId(),
		TrialId:      c.GetTrialId(),
		CheckpointId: c.GetId(),
		Step:         c.GetStep(),
		DatasetId:    job.GetSpec().GetDatasetId(),
		SpecHash:     SpecHashOf(job, trial),
		Seed:         SpecOf(job, trial).GetTraining().GetSeed(),
	}
	if d, ok := v.Dataset(l.GetDatasetId()); ok {
		l.Dataset = fmt.Sprintf("%s@%d", d.GetName(), d.GetVersion())
	}
	return l
}

// VersionID returns the identity of the version that an allocation of stage publish makes.
func VersionID(allocation string) string {
	_, ulid, _ := strings.Cut(allocation, "-")
	return "ver-" + ulid
}

// host returns the host part of host:port, or all of it when there is no port. (Package net does I/O, so not here.)
func host(address string) string {
	if h, _, bracketed := strings.Cut(strings.TrimPrefix(address, "["), "]"); bracketed {
		return h
	}
	if h, _, ported := strings.Cut(address, ":"); ported && strings.Count(address, ":") == 1 {
		return h
	}
	return address
}
