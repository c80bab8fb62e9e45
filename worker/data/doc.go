// Package data feeds the training loop: it holds the splits of a dataset in memory,
// normalised, and says which rows each step takes.
//
// Split is one split, Batch a few rows of it in the form the engine takes, Order the
// sequence of all steps, Cursor a place in it. Feed prepares the batches of a rank before
// they are asked for; Slices reads a split in order.
//
// Invariants: which rows a step takes depends on the seed, the epoch and the position only.
// Share parts a batch among any number of ranks, so each row of an epoch is used exactly
// once however often the number of ranks changes on the way.
//
// It does not read files or draw random numbers of its own: package storage/dataset reads,
// and the permutation is a fixed function written down at Permutation.
package data
