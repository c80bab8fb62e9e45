// Package crash lets a process that C or C++ code brings down die of its signal, as every other process does. Go's runtime would write all
// registers and exit with code 2 instead, and whoever waits for the process would not learn what it died of.
//
// To import the package is enough: from the start of the program on, SIGSEGV, SIGBUS and SIGFPE in C code, and SIGABRT, SIGILL, SIGTRAP and
// SIGSYS wherever they come from, end the process as the kernel does it.
//
// Where a crash would come again, ExitWith makes it an exit code by which the parent knows what the process was doing.
//
// Invariant: what Go code does is left as it is. A nil pointer in Go is a panic, which may be recovered, and an unrecovered one exits with code 2
// and a trace.
package crash
