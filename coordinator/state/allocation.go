package state

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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

// AllocationsOf returns the allocations that have a rank on a node, by id.
func (v *View) AllocationsOf(node string) []*tandemv1.Allocation {
	return list[*tandemv1.Allocation](v, allocationTable, "node", node)
}

// allocationNodes returns the nodes of an allocation, each once.
func allocationNodes(a *tandemv1.Allocation) []string {
	var nodes []string
	for _, r := range a.GetRanks() {
		if !slices.Contains(nodes, r.GetNodeId()) {
			nodes = append(nodes, r.GetNodeId())
		}
	}
	return nodes
}

// RankEnded says whether the engine of a rank has ended as it should.
func RankEnded(s tandemv1.RankState) bool {
	return s == tandemv1.RankState_RANK_STATE_FINISHED || s == tandemv1.RankState_RANK_STATE_STOPPED
}

// EngineID returns the identity of the engine of one rank of an allocation: "allocation/rank".
func EngineID(allocation string, rank int32) string { return fmt.Sprintf("%s/%d", allocation, rank) }

// ParseEngineID takes an engine's identity apart; false when it is not that of a rank, but of a replica.
func ParseEngineID(id string) (allocation string, rank int32, ok bool) {
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
