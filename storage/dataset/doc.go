// Package dataset turns a CSV file into an immutable dataset and reads it back: Arrow IPC
// shards for each split, and a sealed manifest with everything a trainer or a serving
// replica needs to know. FORMAT.md has the details.
//
// FromCSV converts; Open, Dataset.Split and Verify read; Normalization is applied by
// training and by serving alike, and travels with the published version.
//
// Invariants: the same file and Options give the same bytes on any machine. Shards hold raw
// values. Statistics come from the training split alone. No row is left out unless the
// Options allow it, and then the Report names it. Labels read from a dataset of C classes
// are always in [0, C).
//
// It knows nothing of batches, shuffling or devices; see worker/data.
package dataset
