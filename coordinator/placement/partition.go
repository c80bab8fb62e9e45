package placement

import (
	"cmp"
	"slices"
	"time"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// unreachable is a member that cannot be in a group with the others, and why.
type unreachable struct {
	member *tandemv1.Member
	why    *tandemv1.Reason
}

// site is a node with members that could be in the next group.
type site struct {
	node    *tandemv1.Node
	members []*tandemv1.Member
	stays   bool // it has ranks of a group that works
	keep    int  // ranks there that have the state of the training
}

// findUnreachable chooses who has to go where nodes do not reach each other, so that all that are left do. To form the same group again
// would end in the same hang. The nodes that miss the most others go first, so that a node that is cut off from all goes and not the
// rest; then those with the fewest ranks that have the state; then those with the fewest members; then those of the last ranks.
func (g *group) findUnreachable(v *state.View) []unreachable {
	if len(g.silent) > 0 {
		return nil // those that are not heard of may be the ones that are cut off
	}
	sites := g.sites(v)
	var gone []unreachable
	for {
		worst, most := -1, 0
		var from *tandemv1.Node
		for i, s := range sites {
			unreached, other := s.unreached(sites, g.now)
			if s.stays || unreached == 0 || worst >= 0 && cmp.Or(
				cmp.Compare(unreached, most),
				cmp.Compare(sites[worst].keep, s.keep),
				cmp.Compare(len(sites[worst].members), len(s.members)),
			) < 0 {
				continue
			}
			worst, most, from = i, unreached, other
		}
		if worst < 0 {
			return gone
		}
		without := sites[worst].node
		why := state.NewReasonFrom(state.WhyUnreachable(without, from), tandemv1.Reason_CODE_GOES_ON_WITHOUT,
			"node", cmp.Or(without.GetName(), without.GetId()))
		for _, m := range sites[worst].members {
			gone = append(gone, unreachable{m, why})
		}
		sites = slices.Delete(sites, worst, worst+1)
	}
}

// unreached counts the others that a node does not reach, and returns one of them.
func (s site) unreached(all []site, now time.Time) (n int, one *tandemv1.Node) {
	for _, o := range all {
		if !state.Reach(s.node, o.node, now) {
			n++
			one = cmp.Or(one, o.node)
		}
	}
	return n, one
}

// sites are the nodes of those that could be in the next group, in order of rank.
func (g *group) sites(v *state.View) []site {
	var all []site
	for _, m := range g.able() {
		i := slices.IndexFunc(all, func(s site) bool { return s.node.GetId() == m.GetNodeId() })
		if i < 0 {
			i = len(all)
			n, _ := v.Node(m.GetNodeId())
			all = append(all, site{node: n})
		}
		all[i].members = append(all[i].members, m)
		if state.HoldsState(m) {
			all[i].keep++
		}
		if m.GetState() == tandemv1.MemberState_MEMBER_STATE_RUNNING {
			all[i].stays = true
		}
	}
	return all
}
