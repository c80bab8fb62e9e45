// Package input reads what the user of a command names: files and standard input, of which nobody knows what they are.
//
// Open opens a file without waiting, and refuses folders. Read and File read all of something, up to a limit.
//
// Invariants: a pipe that nobody writes to, a device without an end or a file that is not what it should be ends in an error that says so,
// with no more memory than the limit.
package input
