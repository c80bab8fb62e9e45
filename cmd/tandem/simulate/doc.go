// Package simulate has the command that runs a trace of jobs through the scheduler in virtual time (sim), and makes such traces.
//
// Types to know: Shell, which makes the command, and Report, which is its answer for programs.
//
// Invariants: it needs no cluster and no context; a trace that it made is one that it reads; what it reads is bounded, and whatever takes
// long ends with its context.
//
// It is not: the simulation, which is scheduler/sim's, with the form of traces and what the figures mean.
package simulate
