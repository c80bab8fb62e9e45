package placement

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler"
)

const (
	firstRetry   = time.Second
	longestRetry = time.Minute
	// Failed replicas are kept until all is well: their number is the memory of the pause before the next attempt.
	failuresKept = 7
)

// roll decides which replicas to place and to remove, on the slots of nodes that the plan leaves free.
func (d *Decision) roll(v *state.View, now time.Time, nodes []scheduler.Node, plan scheduler.Plan, newID func(prefix string) string) {
	free := left(nodes, plan)
	for _, of := range v.Deployments() {
		r := &rollout{
			now: now, d: of, free: free, perNode: map[string]int{}, left: map[string]*tandemv1.Node{}, rack: map[string]string{},
			newID: newID, name: v.NodeName, change: &tandemv1.ApplyRollout{Name: of.GetName()},
		}
		for _, n := range nodes {
			if n.Pool == of.GetPool() && n.Unavailable != lost {
				r.nodes = append(r.nodes, n.ID)
				r.rack[n.ID], r.spread = n.Rack, n.Spread
			}
			if row, _ := v.Node(n.ID); row.GetDraining() || len(row.GetDisabledSlots()) > 0 {
				r.left[n.ID] = row
			}
		}
		if r.decide(v.ReplicasOf(of.GetName())) {
			d.Rollouts = append(d.Rollouts, r.change)
		}
		d.wakeAt(r.next)
	}
}

// left are the slots that a plan leaves free, by node.
func left(nodes []scheduler.Node, plan scheduler.Plan) map[string][]string {
	granted := map[scheduler.Placement]bool{}
	for _, g := range plan.Grants {
		for _, at := range g.Placements {
			granted[at] = true
		}
	}
	free := map[string][]string{}
	for _, n := range nodes {
		if n.Unavailable != "" {
			continue
		}
		for _, slot := range n.Free {
			if !granted[scheduler.Placement{Node: n.ID, Slot: slot}] {
				free[n.ID] = append(free[n.ID], slot)
			}
		}
	}
	return free
}

// rollout is the change of one deployment in the making.
type rollout struct {
	now     time.Time
	d       *tandemv1.Deployment
	nodes   []string                  // of its pool, but for those that are lost
	free    map[string][]string       // slots by node; what is placed is taken out
	perNode map[string]int            // live replicas
	left    map[string]*tandemv1.Node // nodes that are drained, or have disabled slots
	rack    map[string]string         // by node; empty: not known
	spread  bool                      // its pool spreads work
	newID   func(prefix string) string
	name    func(node string) string // what people call a node

	starting, ready   []*tandemv1.Replica // of the wanted version, in the pool
	failed            []*tandemv1.Replica // of the wanted version, oldest first
	oldLive, oldReady []*tandemv1.Replica // of another version or pool, or to go elsewhere

	change *tandemv1.ApplyRollout
	next   time.Time
	why    *tandemv1.Reason
}

// decide says whether something changes. next is when to look again though the state has not changed; zero: then only.
//
//  1. Sort: what serves the wanted version, what failed to, what is of another version.
//  2. Remove what is too much: surplus replicas; old ones as soon as as many are ready as wanted; old ones that are not ready.
//  3. Place what is missing on free slots, after a pause when replicas failed.
//  4. Where no slot is free, replace one old replica by one new, one at a time.
//  5. Say why fewer are ready than wanted: what is waited for now, before what failed last.
func (r *rollout) decide(replicas []*tandemv1.Replica) bool {
	r.sort(replicas)
	r.trim()
	r.place()
	r.explain()
	r.change.Why = r.why
	return len(r.change.GetPlace())+len(r.change.GetRemove()) > 0 || !proto.Equal(r.why, r.d.GetWhy())
}

func (r *rollout) sort(replicas []*tandemv1.Replica) {
	replicas = slices.Clone(replicas)
	slices.SortFunc(replicas, func(a, b *tandemv1.Replica) int {
		return cmp.Or(a.GetCreatedAt().AsTime().Compare(b.GetCreatedAt().AsTime()), cmp.Compare(a.GetId(), b.GetId()))
	})
	for _, p := range replicas {
		inPool := slices.Contains(r.nodes, p.GetNodeId())
		current := p.GetVersionId() == r.d.GetVersionId() && inPool && !r.leaves(p)
		if state.ReplicaLive(p.GetState()) {
			r.perNode[p.GetNodeId()]++
		}
		switch {
		case p.GetState() == tandemv1.ReplicaState_REPLICA_STATE_FAILED && p.GetVersionId() == r.d.GetVersionId():
			r.failed = append(r.failed, p)
		case p.GetState() == tandemv1.ReplicaState_REPLICA_STATE_FAILED:
			r.remove(p)
		case current && p.GetState() == tandemv1.ReplicaState_REPLICA_STATE_READY:
			r.ready = append(r.ready, p)
		case current:
			r.starting = append(r.starting, p)
		case p.GetState() == tandemv1.ReplicaState_REPLICA_STATE_READY:
			r.oldReady = append(r.oldReady, p)
		default:
			r.oldLive = append(r.oldLive, p)
		}
	}
}

// leaves says whether a replica is to go elsewhere: its node is drained, or its slot is disabled. It serves until another is ready.
func (r *rollout) leaves(p *tandemv1.Replica) bool {
	n := r.left[p.GetNodeId()]
	return n != nil && state.SlotLeft(n, p.GetSlotId())
}

// overdue says whether a replica has to go now, for the time of the drain is over.
func (r *rollout) overdue(p *tandemv1.Replica) bool {
	end := r.left[p.GetNodeId()].GetDrainDeadline()
	if end != nil && end.AsTime().After(r.now) {
		r.next = earlier(r.next, end.AsTime())
	}
	return end != nil && !end.AsTime().After(r.now)
}

func (r *rollout) remove(p *tandemv1.Replica) { r.change.Remove = append(r.change.Remove, p.GetId()) }

// trim removes what is too much. The slots that this frees are used in the next pass.
func (r *rollout) trim() {
	wanted := int(r.d.GetReplicas())
	for len(r.starting)+len(r.ready) > wanted {
		from := &r.ready
		if len(r.starting) > 0 {
			from = &r.starting
		}
		last := len(*from) - 1
		r.remove((*from)[last])
		*from = (*from)[:last]
	}
	for _, p := range r.oldLive {
		r.remove(p) // it never answered
	}
	r.oldReady = slices.DeleteFunc(r.oldReady, func(p *tandemv1.Replica) bool {
		late := r.overdue(p)
		if late {
			r.remove(p)
		}
		return late
	})
	for len(r.oldReady) > 0 && len(r.ready)+len(r.oldReady) > wanted {
		r.remove(r.oldReady[0])
		r.oldReady = r.oldReady[1:]
	}
	for len(r.failed) > failuresKept || len(r.failed) > 0 && len(r.ready) >= wanted {
		r.remove(r.failed[0])
		r.failed = r.failed[1:]
	}
}

func (r *rollout) place() {
	missing := int(r.d.GetReplicas()) - len(r.ready) - len(r.starting)
	if missing <= 0 {
		return
	}
	if at := r.retryAt(); at.After(r.now) {
		r.next = earlier(r.next, at)
		if free := r.places(); missing > free && len(r.oldReady) == 0 {
			r.waitForSlot(missing - free)
		}
		return
	}
	for ; missing > 0; missing-- {
		node, slot, ok := r.takeSlot()
		if !ok {
			break
		}
		r.add(node, slot)
	}
	// No slot is free: one old replica makes room, and the next only when the new one is ready.
	inPlace := func(p *tandemv1.Replica) bool { return slices.Contains(r.nodes, p.GetNodeId()) && !r.leaves(p) }
	if i := slices.IndexFunc(r.oldReady, inPlace); missing > 0 && len(r.starting) == 0 && i >= 0 {
		old := r.oldReady[i]
		r.remove(old)
		r.oldReady = slices.Delete(r.oldReady, i, i+1)
		r.add(old.GetNodeId(), old.GetSlotId())
		missing--
	}
	if missing > 0 {
		r.waitForSlot(missing)
	}
}

// places is how many replicas could be placed.
func (r *rollout) places() (n int) {
	for _, node := range r.nodes {
		n += len(r.free[node])
	}
	return n
}

func (r *rollout) waitForSlot(missing int) {
	r.why = state.NewReason(tandemv1.Reason_CODE_REPLICAS_NO_SLOT, "missing", missing, "wanted", r.d.GetReplicas(), "pool", r.d.GetPool())
}

// retryAt is when the next replica may be placed after failures: the pause doubles with each, from when the last that
// failed was placed, so that one that ran for long is replaced at once.
func (r *rollout) retryAt() time.Time {
	if len(r.failed) == 0 {
		return time.Time{}
	}
	pause := min(firstRetry<<min(len(r.failed)-1, failuresKept), longestRetry)
	return r.failed[len(r.failed)-1].GetCreatedAt().AsTime().Add(pause)
}

// takeSlot takes a free slot apart from the other replicas of the deployment: on the node with the fewest; of equals, in the rack with the
// fewest; of equals, on the node with the fewest free slots, so that whole nodes are left whole, or in a pool that spreads with the most.
func (r *rollout) takeSlot() (node, slot string, ok bool) {
	way := 1
	if r.spread {
		way = -1
	}
	for _, n := range r.nodes {
		if len(r.free[n]) > 0 && (node == "" || cmp.Or(
			cmp.Compare(r.perNode[n], r.perNode[node]),
			cmp.Compare(r.inRack(n), r.inRack(node)),
			way*cmp.Compare(len(r.free[n]), len(r.free[node])),
			cmp.Compare(n, node)) < 0) {
			node = n
		}
	}
	if node == "" {
		return "", "", false
	}
	slot, r.free[node] = r.free[node][0], r.free[node][1:]
	return node, slot, true
}

// inRack counts the live replicas of the deployment in the rack of a node; of a node of no rack it is those on it.
func (r *rollout) inRack(node string) (n int) {
	if r.rack[node] == "" {
		return r.perNode[node]
	}
	for other, live := range r.perNode {
		if r.rack[other] == r.rack[node] {
			n += live
		}
	}
	return n
}

func (r *rollout) add(node, slot string) {
	p := &tandemv1.Replica{
		Id: r.newID("replica"), Deployment: r.d.GetName(), Revision: r.d.GetRevision(), Version: r.d.GetVersion(), VersionId: r.d.GetVersionId(),
		NodeId: node, SlotId: slot, State: tandemv1.ReplicaState_REPLICA_STATE_STARTING, CreatedAt: timestamppb.New(r.now),
	}
	r.change.Place = append(r.change.Place, p)
	r.starting = append(r.starting, p)
	r.perNode[node]++
}

func (r *rollout) explain() {
	wanted := int(r.d.GetReplicas())
	switch {
	case len(r.ready) >= wanted:
		r.why = nil
	case r.why != nil: // it waits for a slot, whatever failed before
	case len(r.failed) > 0:
		last := r.failed[len(r.failed)-1]
		r.why = state.NewReasonFrom(last.GetWhy(), tandemv1.Reason_CODE_REPLICA_RETRIED, "node", r.name(last.GetNodeId()), "node_id", last.GetNodeId())
	default:
		r.why = state.NewReason(tandemv1.Reason_CODE_REPLICAS_STARTING, "starting", len(r.starting), "wanted", wanted)
	}
}
