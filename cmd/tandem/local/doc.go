// Package local keeps a whole cluster on one machine: a data folder, and child processes that live in it.
//
// Types to know: Folder (one cluster's place on disk, locked while it is in use, with its addresses and keys), Keeper
// (starts child processes and keeps them), Process (what to start).
//
// Invariants:
//   - No child outlives this program, not even when it is killed: the keeper is given a Starter that sees to it.
//   - A folder keeps the addresses it was made with: they are part of the cluster's state.
//   - Keys are made once, never leave the folder, and only its owner can read them.
//
// It knows nothing of what the processes are; see up.go of the command.
package local
