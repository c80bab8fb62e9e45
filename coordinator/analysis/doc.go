// Package analysis answers questions about what was recorded of trainings and searches.
//
// It is pure. Of a trial: segments of storage/metric go in; Series, Goodput, StepTime and Traces come out. Of a sweep: its trials go in;
// Curves (what was measured), Replay (what another method would have decided) and Importance (which hyper-parameter matters) come out.
//
// The trial is one life to it, whatever generations, members and restarts it had: where a step
// was done more than once the newest generation's figures count, and each instant from the
// trial's creation to its end is in exactly one part of Goodput.
//
// It reads no store; package api does, and Gaps tells it what more to read. It draws nothing; clients do.
package analysis
