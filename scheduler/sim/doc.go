// Package sim runs traces of jobs through the scheduler, in virtual time: what would have become of them on such a cluster?
//
// Types to know: Trace (nodes, jobs and failures; Parse reads it, String writes it), Config (what is assumed), Run, Result (what became of
// each job, and of all) and Generate (a trace with a shape).
//
// A trace is text, a line each; durations are those of Go, such as 90s or 1h30m:
//
//	# a comment
//	node NAME slots=8 [pool=default]
//	job NAME at=DURATION slots=N work=DURATION [min=N] [priority=N] [pool=default]
//	fail NODE at=DURATION for=DURATION
//
// work is how long the job takes when it has all its slots; with fewer it takes as much longer. A job with min begins, goes on and gives
// way with as few. A node that fails takes the ranks on it along.
//
// Invariants: the decisions are those of scheduler.Schedule, which is the coordinator's; it is deterministic, and exact: time and work are
// whole nanoseconds; what jobs got done is what they had to do.
//
// It is not: a model of networks, data or the speed of a job, which is taken to grow with its slots.
package sim
