// Package metrics makes sense of what the engines of a trial recorded.
//
// It is pure: segments of storage/metric go in; Series, Goodput, StepTime and Traces come out.
// The trial is one life to it, whatever generations, members and restarts it had: where a step
// was done more than once the newest generation's figures count, and each instant from the
// trial's creation to its end is in exactly one part of Goodput.
//
// It reads no store; package api does, and Gaps tells it what more to read.
package metrics
