// Package spec completes and checks the specs of jobs, and translates those of sweeps for package scheduler/search, which decides.
//
// To know: Complete (a spec as a user wrote it, with its defaults and its dataset pinned, or an *Error that names every Problem with its
// place), CompleteTrial (the spec of one trial of a sweep), Config, Event and Decision (a search, what happens to it, what it decides),
// Patched (a point put into a spec). One file checks one section of a spec; an architecture has a file of the same name here and in
// worker/model, which builds it.
//
// Invariants: every function is pure; completing a complete spec changes nothing; what Complete lets through New of scheduler/search takes;
// a place of a space is found by the descriptor of JobSpec alone, so that a field added there can be searched at once.
//
// It is not where files and checkpoints are looked at, which takes the store: that is in package api. It is not the loop that feeds a
// search: that is in package leader.
package spec
