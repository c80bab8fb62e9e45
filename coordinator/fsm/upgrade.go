package fsm

import (
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// upgraded brings a row of a snapshot that the first release wrote into the form of today, and returns it.
func upgraded(row proto.Message) proto.Message {
	alloc, ok := row.(*tandemv1.Allocation)
	if !ok {
		return row
	}
	if alloc.GetCommittedAt() != nil {
		alloc.Group = &tandemv1.Group{
			WorldSize:   alloc.GetWorldSize(),
			CommittedAt: alloc.GetCommittedAt(),
			Planned:     alloc.GetPlanned(),
			Relay:       alloc.GetRelay(),
			FormedAt:    alloc.GetFormedAt(),
			BrokenAt:    alloc.GetBrokenAt(),
			Hung:        alloc.GetHung(),
		}
	}
	alloc.WorldSize, alloc.CommittedAt, alloc.Planned, alloc.Relay = 0, nil, false, false
	alloc.FormedStep, alloc.FormedAt, alloc.Broken, alloc.BrokenAt, alloc.Hung = 0, nil, false, nil, false
	return alloc
}
