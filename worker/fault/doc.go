// Package fault breaks this process at a named point of a training step, for tests of what survives.
//
// The environment variable TANDEM_FAULT holds "point:step:action[,...]", for example "reduce:12:kill": at the
// point reduce of the first step that follows at least 12 optimizer steps, the process kills itself. It is read once.
// "@FOLDER" takes the faults from the first file *.fault of a folder that no other process has taken. Nothing is
// armed where it is empty, and a point then costs one atomic load.
//
// The types to know: Fault; Point, which Go code calls where something may go wrong. The points inside a step are
// hit by worker/torch, which gets the same list.
//
// It is not for production, and it knows nothing of what it breaks.
package fault
