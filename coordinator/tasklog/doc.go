// Package tasklog reads the logs of tasks, which agents have put into the store.
//
// Types to know: Reader.
//
// Invariants: a line is sent once and whole; lines of one object keep their order, and objects come in the order of their keys; an object
// that goes while it is read, since its agent makes room, is not an error.
//
// It is not who may read a log, nor how long it is followed: that is api's.
package tasklog
