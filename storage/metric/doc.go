// Package metric is the format of a trial's metrics in the store: what its engines recorded
// while they trained. FORMAT.md describes it byte by byte.
//
// A Segment is one object: a Header and lines of one Kind. Category is what an engine can be
// doing, Times how long it did each. Encode, Decode, Key and ParseKey are the whole of it.
//
// Invariants: the beats of one member tile its life, so whoever adds up their times gets all
// of it; what Decode accepts is bounded in size, and Encode gives it back.
//
// It reads no store and judges nothing: package worker/metric writes segments, package
// coordinator/analysis makes sense of them.
package metric
