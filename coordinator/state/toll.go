package state

import (
	"slices"

	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Toll is what the loss of members costs.
type Toll struct {
	Gone    []*tandemv1.Member // all that are lost
	Ranks   int                // of them: those whose state of the training is needed
	Others  int                // of them: those that were about to come
	Added   int                // of the others: those that were to come to a group that works without them
	Restart bool               // work is done again, or its start
}

// TollOf is what the loss of members of an allocation costs.
func TollOf(alloc *tandemv1.Allocation, numbers []int32) (lost Toll) {
	works := GroupWorks(alloc)
	for _, number := range numbers {
		m := Member(alloc, number)
		if m == nil || MemberEnded(m.GetState()) || slices.ContainsFunc(lost.Gone, SameMember(m)) {
			continue
		}
		lost.Gone = append(lost.Gone, m)
		switch {
		case HoldsState(m):
			lost.Ranks++
			lost.Restart = true
		case m.GetState() == tandemv1.MemberState_MEMBER_STATE_LEAVING:
		case works: // those that train are not to suffer from it
			lost.Others++
			lost.Added++
		default:
			lost.Others++
			lost.Restart = true
		}
	}
	return lost
}

// SameMember says of another row of an allocation's member whether it is of the same.
func SameMember(m *tandemv1.Member) func(*tandemv1.Member) bool {
	return func(o *tandemv1.Member) bool { return o.GetNumber() == m.GetNumber() }
}

// Losses are members that are lost for one cause.
type Losses struct {
	Cause   *tandemv1.Reason
	Numbers []int32
}

// ByCause puts together what is lost for one cause, in the order in which the causes come first.
func ByCause(lost []*tandemv1.LostMember) (all []Losses) {
	for _, l := range lost {
		cause := Given(l.GetWhy(), l.GetReason())
		i := slices.IndexFunc(all, func(o Losses) bool { return proto.Equal(o.Cause, cause) })
		if i < 0 {
			i, all = len(all), append(all, Losses{Cause: cause})
		}
		all[i].Numbers = append(all[i].Numbers, l.GetNumber())
	}
	return all
}

// EngineFailed says which engine failed and how, in its own words.
func EngineFailed(v *View, m *tandemv1.Member, text string) *tandemv1.Reason {
	n, _ := v.Node(m.GetNodeId())
	r := NewReason(tandemv1.Reason_CODE_ENGINE_FAILED, "node", nodeName(n), "node_id", n.GetId(), "text", text)
	if InGroup(m) {
		r.Args["rank"] = Arg(m.GetRank())
	}
	return r
}
