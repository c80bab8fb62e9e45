// Package checkpoint keeps and finds the training state of one trial.
//
// Keeper does both. Save returns as soon as no other checkpoint is being written; the
// upload runs beside the training, and waits for a store that is unavailable until a newer
// checkpoint takes its place. Restore picks the checkpoint on rank 0 and makes all ranks
// load that one; they wait for the store together.
//
// Invariants: at most one upload is under way. A checkpoint is reported after its manifest
// is committed, never before. What is damaged is not loaded; the newest sound one that is
// not newer than the named one takes its place.
//
// It does not decide when to save, and does not delete: the coordinator does.
package checkpoint
