// Package publish turns a checkpoint into a version of a model (storage/version).
//
// Publisher makes a version, and Engine is what it asks of libtorch.
//
// Invariants: what is published is the file as it was read back: its metrics and probes were
// computed with it, not with the model in memory. Doing it again after a fault finds the first
// attempt's version or makes the same one.
//
// It does not number versions and moves no alias: the coordinator does.
package publish
