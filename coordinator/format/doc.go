// Package format reads and writes what coordinators keep of the state: commands, which are the entries of the log, and snapshots. The
// layout is that of command.proto and snapshot.proto.
//
// Functions to know: Decode (a command), Write and Restore (a snapshot).
//
// Invariants: equal states give equal bytes; what this version does not know is refused, never skipped, unless it says that it may be.
//
// It is not about what a command does: that is package fsm.
package format
