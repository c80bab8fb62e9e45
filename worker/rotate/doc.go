// Package rotate keeps a log file and some older ones within a size.
//
// Types to know: File.
//
// Invariants: a line is never split between two files; an older file is whole or not there.
//
// It is not the log of a task: that is in the store, and worker/agent puts it there.
package rotate
