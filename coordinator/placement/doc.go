// Package placement decides what becomes of all slots: which trials begin, which members an allocation has and which of them make its next
// process group, and which replicas are placed and removed.
//
// It is pure: Decide takes a state.View and the time, and returns what is to be changed. The types to know are Decision, and inside group (an
// allocation that trains, with its members by what can be done with them), reform (the change of one) and rollout (the change of one
// deployment).
//
// Invariants:
//   - One picture: all parts of a decision are made on the same snapshot and fit each other; no slot is in two of them.
//   - What was decided on an older state is refused by the state machine, and decided again.
//   - Decide of the state after its own decision decides nothing more for what has settled.
//
// Package scheduler decides who gets which slots. It is not: a loop, which package leader has, or the state machine, which checks each part.
package placement
