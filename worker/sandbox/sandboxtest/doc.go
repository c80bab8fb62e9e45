// Package sandboxtest is a process that tries all it can think of to leave its sandbox. Tests run it in the place of an engine.
//
// The types to know are Prey, what it is shown, and Try, which says what it was able to do.
//
// It is no part of any program that is shipped.
package sandboxtest
