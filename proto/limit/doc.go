// Package limit holds messages to the sizes that their fields declare with the options max_len and max_items.
//
// Functions to know: Check (what a coordinator refuses), Cut (what an agent does to the words of an engine, so that they pass).
//
// Invariants: every string, list and map of a message is looked at, at any depth, by reflection; a field that declares nothing has
// the limits that limit.proto names. A message whose words were too
// long passes the check when it was cut.
package limit
