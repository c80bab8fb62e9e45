// Package state holds what a coordinator knows: the rows of snapshot.proto, in memory, in go-memdb.
//
// A View is an immutable, consistent read snapshot; every question about the state is a method of View or a pure
// function of one (Desired, Usage). A Tx is the one writer: only the state machine (package fsm) opens it.
// State.Wait blocks until something has changed; watchers are level-triggered, they read everything again.
//
// Invariants: a row is never changed after it was put (clone, change, put); rows come out in the order of their
// identities unless a method says otherwise; View.Index is the Raft index of the last command in the view.
//
// It is not a cache and not a store: it holds no clock, does no I/O, and is rebuilt from the log and its snapshot.
package state
