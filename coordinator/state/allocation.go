package state

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Allocation returns an allocation.
func (v *View) Allocation(id string) (*tandemv1.Allocation, bool) {
	return get[*tandemv1.Allocation](v, allocationTable, id)
}

// Allocations returns all allocations by id.
func (v *View) Allocations() []*tandemv1.Allocation {
	return all[*tandemv1.Allocation](v, allocationTable)
}

// AllocationsOf returns the allocations that have a member on a node, by id.
func (v *View) AllocationsOf(node string) []*tandemv1.Allocation {
	return list[*tandemv1.Allocation](v, allocationTable, "node", node)
}

// allocationNodes returns the nodes of an allocation, each once.
func allocationNodes(a *tandemv1.Allocation) []string {
	var nodes []string
	for _, m := range a.GetMembers() {
		if !slices.Contains(nodes, m.GetNodeId()) {
			nodes = append(nodes, m.GetNodeId())
		}
	}
	return nodes
}

// Member returns a member of an allocation by its number; nil when it is not, or no longer, there.
func Member(a *tandemv1.Allocation, number int32) *tandemv1.Member {
	for _, m := range a.GetMembers() {
		if m.GetNumber() == number {
			return m
		}
	}
	return nil
}

// MembersIn returns the members that are in one of the given states, by number.
func MembersIn(a *tandemv1.Allocation, states ...tandemv1.MemberState) []*tandemv1.Member {
	var in []*tandemv1.Member
	for _, m := range a.GetMembers() {
		if slices.Contains(states, m.GetState()) {
			in = append(in, m)
		}
	}
	return in
}

// MemberEnded says whether the engine of a member has ended as it should.
func MemberEnded(s tandemv1.MemberState) bool {
	return s == tandemv1.MemberState_MEMBER_STATE_FINISHED || s == tandemv1.MemberState_MEMBER_STATE_STOPPED
}

// InGroup says whether a member has, or had to its end, a part in the committed process group.
func InGroup(m *tandemv1.Member) bool { return m.GetRank() >= 0 }

// HoldsState says whether a member that trains has a part in what becomes of the state of the training: it is in the committed group, or
// was in the one before and the committed one broke before it was formed.
func HoldsState(m *tandemv1.Member) bool {
	return m.GetState() == tandemv1.MemberState_MEMBER_STATE_RUNNING || m.GetState() == tandemv1.MemberState_MEMBER_STATE_BROKEN
}

// GiveRanks makes members the ranks of a group, in this order, and lets those leave that were in the one before. The allocation is a copy
// already.
func GiveRanks(alloc *tandemv1.Allocation, numbers []int32) {
	for _, m := range alloc.GetMembers() {
		if s := m.GetState(); s == tandemv1.MemberState_MEMBER_STATE_RUNNING || s == tandemv1.MemberState_MEMBER_STATE_BROKEN {
			m.State = tandemv1.MemberState_MEMBER_STATE_LEAVING
		}
		m.Rank, m.LocalRank = -1, 0
	}
	local := map[string]int32{}
	for i, number := range numbers {
		m := Member(alloc, number)
		m.State = tandemv1.MemberState_MEMBER_STATE_RUNNING
		m.Rank, m.LocalRank = int32(i), local[m.GetNodeId()] //nolint:gosec // bounded by the spec
		local[m.GetNodeId()]++
	}
}

// AddMembers gives an allocation, which is a copy already, more members: the first generation they may be in is the next.
func AddMembers(alloc *tandemv1.Allocation, more []*tandemv1.Member, now *timestamppb.Timestamp) {
	for _, m := range more {
		alloc.Members = append(alloc.Members, &tandemv1.Member{
			Number:     alloc.GetNextMember(),
			Rank:       -1,
			NodeId:     m.GetNodeId(),
			SlotId:     m.GetSlotId(),
			State:      tandemv1.MemberState_MEMBER_STATE_ASSIGNED,
			Generation: alloc.GetGeneration() + 1,
			AddedAt:    now,
		})
		alloc.NextMember++
	}
}

// HasGroup says whether a process group was ever committed for an allocation.
func HasGroup(a *tandemv1.Allocation) bool { return a.GetGroup() != nil }

// GroupWorks says whether the committed process group of an allocation works, as far as its members have said.
func GroupWorks(a *tandemv1.Allocation) bool { return HasGroup(a) && !GroupBroken(a) }

// GroupFormed says whether the committed process group of an allocation has said that it has begun.
func GroupFormed(a *tandemv1.Allocation) bool { return a.GetGroup().GetFormedAt() != nil }

// GroupBroken says whether the committed process group of an allocation does not work any more.
func GroupBroken(a *tandemv1.Allocation) bool { return a.GetGroup().GetBrokenAt() != nil }

// EngineID returns the identity of the engine of one member of an allocation: "allocation/member".
func EngineID(allocation string, member int32) string {
	return fmt.Sprintf("%s/%d", allocation, member)
}

// ParseEngineID takes an engine's identity apart; false when it is not that of a member, but of a replica.
func ParseEngineID(id string) (allocation string, member int32, ok bool) {
	allocation, number, ok := strings.Cut(id, "/")
	if !ok {
		return "", 0, false
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n < 0 || EngineID(allocation, int32(n)) != id {
		return "", 0, false
	}
	return allocation, int32(n), true
}
