// Package spec reads job specs as people write them: YAML or JSON, with values set on the command line.
//
// Parse is the whole of it: text in, JobSpec out. It checks form, not sense: unknown keys, wrong types and values that do
// not fit are refused with their line, column and path, all of them at once; what a value means is the coordinator's
// business, which fills in the defaults too.
//
// Invariants: the proto descriptor is the only list of keys, so a field added there can be written at once; nothing
// that was written is dropped silently.
package spec
