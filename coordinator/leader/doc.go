// Package leader is what only the leading coordinator does: a list of loops that watch the state, decide, and propose.
//
// Types to know: Loop (a name and a Run), Supervisor (runs the loops while this coordinator leads). Each loop has a pure
// decider, a function of a state.View that returns commands or nothing:
//
//   - placement: what becomes of all slots (package placement decides)
//   - search: what becomes of the trials of sweeps (package scheduler/search decides)
//   - nodes: which node is lost
//   - gc: which checkpoints nobody needs, and what is too old to be remembered
//
// Invariants: a loop proposes only what changes something; what it decided on an older state is refused by the state
// machine and decided again; a loop that fails is started again, a crash anywhere is healed by the next pass.
//
// It keeps no state of its own beyond a pass but searches, which can be made anew from the events, and it never talks to
// agents: they watch the state too.
package leader
