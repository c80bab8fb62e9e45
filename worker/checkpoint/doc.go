// Package checkpoint keeps and finds the training state of one trial.
//
// Keeper does both, on each rank for its share of the state. Save copies the share and
// returns; one worker beside the training brings it to the store, and on rank 0 commits the
// checkpoint when the store has the word of every rank (package ckpt). What waits for the
// store waits on local disk. Restore picks the checkpoint on rank 0 and makes all ranks load
// that one; they wait for the store together.
//
// The machine (machine.go, round.go) decides and is pure; the keeper tells it what happened and follows it, and its worker does one
// task after the other. testdata has scenarios as text.
//
// A share is in one of three lists: queue (in memory, small, until no rank is busy), writing
// (on its way to the store, in memory or on disk, oldest first), pending (in the store; rank 0
// waits for the others). The ranks decide alike which checkpoints they write: Busy is summed
// over them in the loop's sync, and Free tells all at the same step that none is.
//
// A share is one shard or several, which go to the store side by side (lay).
//
// Invariants: at most one share is under way on a rank, and of a large state one copy in
// memory. No call but Wait, Close and the last Save waits. What waits is the newest and the
// best, no more. A checkpoint is reported after its manifest is committed, never before. What
// is damaged is not loaded; the newest sound one that is not newer than the named one takes
// its place.
//
// It does not decide when to save, and does not delete from the store: the coordinator does.
package checkpoint
