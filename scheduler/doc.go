// Package scheduler decides which pending work gets which slots.
//
// It is pure: Schedule takes the cluster as a value and returns a plan as a value. It reads no clock, starts no goroutine and knows
// nothing of jobs as they are stored; the caller translates. The types to know are Snapshot (what there is, who holds some of it and who
// waits), Plan (what to grant, who gives slots up or is parked, and why all else waits) and Placement (one slot).
//
// Invariants:
//   - All or nothing: a request gets all its slots in one plan or none; one that can begin with fewer (Min) gets at least so
//     many, and more only if they are free.
//   - Order: higher priority first, then age, then id; in a pool that is shared fairly (Queue) the project comes before age that has the
//     least: what it held lately and holds now, over its weight. Requests of one slot so get weighted max-min shares. Within a pool a request that could be satisfied once all jobs have
//     ended keeps its place, so nothing starves: what is behind it gets only slots on loan. A request that could not be
//     satisfied even then does not hold up the others, and neither does one that is spare, which comes last of its priority.
//   - Loans do not delay who lends: what has slots on loan is parked once the first in line can begin with them, or is over before.
//   - Near: one node is better than one rack, and that is better than two; of those that hold all the one that fits best, so that whole
//     nodes are left whole. A pool may be spread instead.
//   - Nodes that do not reach each other (Unreachable) never hold slots of one request, nor of what it belongs to (With).
//   - Work of a lower priority sets slots free for the first in line alone, as many as it is short of, and only if that is enough. It
//     gives what it can spare first; it is parked only when that is not enough, not before its guaranteed time is over, and what loses
//     the least first.
//   - Every request that is not granted has a reason: a code and its arguments. Whoever shows it makes the sentence.
//   - Stable: Schedule of the snapshot after its own plan grants nothing and has nothing given. The order of its input does not matter.
//   - Near linear: 10,000 gangs that wait for 1,000 nodes take some 30 ms (BenchmarkSchedule).
//
// It is not: quota, or fair sharing between the users of a project; those are to be added to Schedule.
package scheduler
