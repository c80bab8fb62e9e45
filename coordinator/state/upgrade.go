package state

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Upgraded brings a row of a snapshot that the first release wrote into the form of today, and returns it.
func Upgraded(row proto.Message) proto.Message {
	if alloc, ok := row.(*tandemv1.Allocation); ok {
		upgradeGroup(alloc)
	}
	if _, event := row.(*tandemv1.Event); event {
		return row // it says its project where that is not the default one
	}
	m := row.ProtoReflect()
	if project := m.Descriptor().Fields().ByName("project"); project != nil && !m.Has(project) {
		m.Set(project, protoreflect.ValueOfString(DefaultProject))
	}
	return row
}

// upgradeGroup puts what an allocation says of its process group into a message of its own.
func upgradeGroup(alloc *tandemv1.Allocation) {
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
}
