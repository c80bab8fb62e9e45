package fsm

import (
	"cmp"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// putPool makes a pool, or changes one.
func putPool(a *applier, c *tandemv1.PutPool) (*tandemv1.Result, *refusal) {
	known, old := state.PoolKnown(a.View, c.GetName()), state.PoolPolicy(a.View, c.GetName())
	switch {
	case c.GetName() == "":
		return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "pool", "field", "name")
	case c.GetCreate() && known:
		return nil, refuse(codeExists, tandemv1.Reason_CODE_ALREADY_EXISTS, "noun", "pool", "name", c.GetName())
	case !c.GetCreate() && !known:
		return nil, refuse(codeNotFound, tandemv1.Reason_CODE_NOT_FOUND, "noun", "pool", "name", c.GetName())
	}
	p := state.Clone(old)
	p.Order, p.Placement = cmp.Or(c.GetOrder(), old.GetOrder()), cmp.Or(c.GetPlacement(), old.GetPlacement())
	if c.RackLabel != nil {
		p.RackLabel = c.GetRackLabel()
	}
	what := tandemv1.Event_TYPE_POOL_CHANGED
	switch {
	case c.GetCreate():
		what, p.CreatedAt = tandemv1.Event_TYPE_POOL_CREATED, a.now
	case proto.Equal(p, old):
		return done(p.GetName()), nil
	}
	a.Put(p)
	a.record(infoLevel, what, subject{noun: "pool", id: p.GetName(), name: p.GetName()}, nil,
		"order", p.GetOrder(), "placement", p.GetPlacement(), "rack", p.GetRackLabel(), "by", a.actor)
	return done(p.GetName()), nil
}
