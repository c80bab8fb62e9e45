// Package publish turns a checkpoint into a version of a model: an immutable folder of
// files in the store that any libtorch can load and that a replica can trust. FORMAT.md has
// every file.
//
// Publisher makes a version, Version reads one, Manifest describes it, Probe is a question
// with its known answer. Model is what both ask of libtorch.
//
// Invariants: the manifest is written last, with PutIfAbsent, and is the commit. It names
// the sha256 of every other file. What is published is the file as it was read back: its
// metrics and probes were computed with it, not with the model in memory. Doing it again
// after a fault finds the first attempt's version or makes the same one.
//
// It does not number versions and moves no alias: the coordinator does.
package publish
