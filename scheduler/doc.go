// Package scheduler decides which pending work gets which slots.
//
// It is pure: Schedule takes the cluster as a value and returns a plan as a value. It reads no clock, starts no
// goroutine and knows nothing of jobs as they are stored; the caller translates. The types to know are Cluster (what
// is there and what waits), Plan (what to grant, and for all else why not) and Placement (one slot).
//
// Invariants:
//   - All or nothing: a request gets all its slots in one plan or none; one that can begin with fewer (Min) gets at least so
//     many, and more only if they are free.
//   - Order: higher priority first, then age, then id. Within a pool a request that could be satisfied once all jobs have
//     ended keeps its place: nothing behind it is granted before it, so nothing starves. A request that could not be
//     satisfied even then does not hold up the others, and neither does one that is spare, which comes last of its priority.
//   - Nodes that do not reach each other (Parted) never hold slots of one request, nor of what it belongs to (With).
//   - Every request that is not granted has a reason: a code and its arguments. Whoever shows it makes the sentence.
//   - Stable: Schedule of the cluster after its own plan grants nothing.
//
// It is not: fair sharing, backfill, preemption or quota; those are deciders to be added beside schedule.go.
package scheduler
