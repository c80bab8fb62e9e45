package consensus

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ErrLevel says that a command needs a higher feature level than the cluster has. Nothing was proposed.
var ErrLevel = errors.New("the cluster's feature level is too low")

// stampLevel writes down which feature level a command needs, and refuses one that the cluster has not reached: a coordinator
// of the release before could not apply it.
func (n *Node) stampLevel(cmd *tandemv1.Command) error {
	needs, v := stamp(cmd), n.state.View()
	if needs <= v.Level() || cmd.GetIgnorable() {
		return nil
	}
	return fmt.Errorf("%w: this needs level %d, and the cluster is at %d; %s", ErrLevel, needs, v.Level(), heldUp(v, n.Peers(), needs))
}

// stamp writes into a command which feature level it needs, and returns it.
func stamp(cmd *tandemv1.Command) int {
	needs := schema.Level(cmd)
	cmd.Level = 0
	if needs > schema.Base {
		cmd.Level = int32(needs) //nolint:gosec // one a release
	}
	return needs
}

// heldUp says what keeps the cluster from a level.
func heldUp(v *state.View, peers []Peer, level int) string {
	var names []string
	for _, p := range Behind(v, peers, level) {
		if c, ok := v.Program(p); ok {
			names = append(names, fmt.Sprintf("%s (version %s, level %d)", p, c.GetVersion(), c.GetLevel()))
		} else {
			names = append(names, p+" (has not said its version yet)")
		}
	}
	if len(names) == 0 {
		return "it is about to be raised: try again in a moment"
	}
	return "these coordinators must be upgraded first: " + strings.Join(names, ", ")
}

// Behind returns the voters that have not said that they know a feature level, by id.
func Behind(v *state.View, peers []Peer, level int) []string {
	var behind []string
	for _, p := range peers {
		if c, ok := v.Program(p.ID); p.Voter && (!ok || int(c.GetLevel()) < level) {
			behind = append(behind, p.ID)
		}
	}
	slices.Sort(behind)
	return behind
}
