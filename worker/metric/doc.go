// Package metric stores what an engine recorded while it trained.
//
// Writer takes segments from a Source (train.Recorder) every few seconds and at the end, and
// puts them into the store in the format of storage/metric. It works beside the training and
// never holds it up: while the store is away segments wait in memory up to a limit, then the
// oldest are dropped and counted. Training goes on whatever becomes of them.
package metric
