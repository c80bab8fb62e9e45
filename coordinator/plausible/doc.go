// Package plausible decides whether what a worker reports can be true of the trial it names. An engine runs a stranger's model, and its
// agent may be a stolen one: what they say is written into the log and shown to people for ever.
//
// To know: Report (why a report cannot be true), Progress, Notes (how many notes an engine may make).
//
// Invariants: Report and Progress are pure, and refuse nothing that an honest engine says, not even one whose training diverges: its loss
// may be no number. What is refused is one report, never those that came with it.
//
// It is not the fence: whether a member may still speak is decided by the state machine.
package plausible
