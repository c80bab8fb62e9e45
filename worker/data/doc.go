// Package data feeds the training loop: it holds the splits of a dataset in memory, or
// streams them through a cache on local disk, and says which rows each step takes. See
// DESIGN.md.
//
// Split is one split in memory, Stream one that is read as it is used, Cache the folder of
// shards that the engines of a node share, Batch a few rows of it in the form the engine takes, Order the
// sequence of all steps, Cursor a place in it. Feed prepares the batches of a rank before
// they are asked for; Slices reads a split in order.
//
// Invariants: which rows a step takes depends on the seed, the epoch and the position only.
// Share parts a batch among any number of ranks, so each row of an epoch is used exactly
// once however often the number of ranks changes on the way.
//
// It knows no file format and draws no random numbers of its own: package storage/dataset
// reads, and the permutation is a fixed function written down at Permutation.
package data
