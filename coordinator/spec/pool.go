package spec

import (
	"cmp"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// CheckPool checks what a pool is to be. What is wrong comes as an *Error.
func CheckPool(p *tandemv1.PutPool) error {
	c := &check{}
	c.pool("name", p.GetName())
	c.oneOf("order", cmp.Or(p.GetOrder(), state.OrderFifo), state.OrderFifo)
	c.oneOf("placement", cmp.Or(p.GetPlacement(), state.PlacementPack), state.PlacementPack, state.PlacementSpread)
	if label := p.GetRackLabel(); label != "" && !isLabelKey(label) {
		c.add("rack_label", "%.80q must be the key of a label, as of tandem node label", label)
	}
	return c.err()
}
