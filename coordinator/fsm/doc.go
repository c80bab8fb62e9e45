// Package fsm is the state machine: it applies the commands of the replicated log to the state.
//
// One file per noun holds the handlers. Each checks first and changes only when nothing is wrong, so that a refusal
// has no effect; what has a sight alone, as checks do, cannot change anything. A check says no with a refusal, which
// becomes a Result with a code and arguments; an entry that cannot be read or is not known stops the node, because
// going on would make it differ from the others.
//
// Invariants: applying depends on the state, the index and the command only (no clock, no random source, no map
// order); a slot is held once; a trial that runs holds exactly one allocation; a generation never goes down; a report
// that is repeated changes nothing.
//
// A row is changed by edit alone, which looks it up as it is then: a row that a handler holds is as it was when the
// handler read it. Jobs follow their trials at the end of a command, and of each part of one that may leave events.
//
// It writes no sentences: reasons and events are codes with arguments (reason.go, event.go), of which package say makes the text.
//
// It does not place work: it checks and carries out what the scheduler has decided.
package fsm
