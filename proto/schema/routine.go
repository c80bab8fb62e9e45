package schema

import (
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Routine says whether a type of events happens all the time.
func Routine(t tandemv1.Event_Type) bool {
	value := t.Descriptor().Values().ByNumber(t.Number())
	return value != nil && proto.GetExtension(value.Options(), tandemv1.E_Routine).(bool)
}
