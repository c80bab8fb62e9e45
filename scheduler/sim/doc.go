// Package sim runs traces of jobs through the scheduler, in virtual time: what would have become of them on such a cluster?
//
// Types to know: Trace (nodes, jobs and failures; Parse reads it, String writes it), Config (what is assumed, and whose Policy decides),
// Run, Result (what became of each job, and of all) and Generate (a trace with a Shape).
//
// A trace is text, a line each; durations are those of Go, such as 90s or 1h30m:
//
//	# a comment
//	node NAME slots=8 [pool=default]
//	job NAME at=DURATION slots=N work=DURATION [min=N] [priority=N] [user=NAME] [project=NAME] [limit=DURATION] [pool=default]
//	fail NODE at=DURATION for=DURATION
//
// work is how long the job takes when it has all its slots; with fewer it takes as much longer. A job with min begins, goes on and gives
// way with as few. limit is how long its user says that it takes at most, once it has started; without it, the user knows. Jobs that name
// no user are all of one. A node that fails takes the ranks on it along.
//
// What the report says, beside times and counts:
//   - Utilisation is the work that was done and lasted, over the time of all slots that were up until the last job ended. Starts, and what
//     was lost, are not in it.
//   - LostHours is the work that was done again since its last checkpoint, and that of jobs that were killed at their limit.
//   - The slowdown of a job is the time from its arrival to its end over its work, bounded: both count for at least 10 s (Feitelson 2001).
//     Mean and 95th percentile are given by the slots that jobs want: 1, 2 to 7, 8 to 31, and more.
//   - Fairness is Jain's index over the users, (sum x)^2 / (n sum x^2): 1 where all get the same, 1/n where one gets all. The x of a user
//     is the slot-time that its jobs have work for over the slots that they want times the time from their arrival to their end: what part
//     of the time of a cluster of its own it got.
//
// Invariants: the decisions of Tandem are those of scheduler.Schedule, which is the coordinator's; a run is deterministic, and exact: time
// and work are whole nanoseconds; what jobs got done is what they had to do. What has not ended after 100,000 hours never does.
//
// It is not: a model of networks, data or the speed of a job, which is taken to grow with its slots.
package sim
