// Package sweep is what lies between a sweep as the schema says it and package scheduler/search, which decides: it translates specs,
// events and decisions, and makes the spec of a trial from that of its sweep.
//
// To know: Config and Complete (the search section of a spec), Event and Decision (a row of the state in, a decision out), Patch
// and TrialSpec (a point put into a spec), Check (what the places and the domains of a space must be).
//
// Invariants: every function is pure; what Complete let through New of scheduler/search takes; a place is found by the descriptor of
// JobSpec alone, so that a field added there can be searched at once.
//
// It is not the loop that feeds a search: that is in package leader.
package sweep
