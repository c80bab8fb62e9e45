// Package train is the training loop of one rank.
//
// Loop runs it: loop.go reads from top to bottom. Plan is the spec made concrete for a
// dataset, State all that a resume needs besides the tensors, Schedule the learning rate
// over time. Trainer, Group, Checkpoints and Reporter are what the loop asks of others;
// package worker/torch stands behind the first two.
//
// Invariants: which rows a step takes, its learning rate and its seed depend on the spec
// and the step only, so a resumed training equals one that was never disturbed. All ranks
// decide to stop, evaluate and save at the same steps: what only one of them knows is
// agreed in the sync, the one collective besides that of the gradients.
//
// It knows no libtorch, no network and no clock of its own: Deps.Now says the time. What waits (deadline.go, sync.go, relay.go) uses timers.
package train
