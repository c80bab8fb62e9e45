// Package outlook writes what is ahead of a job for people: its place in the queue, when it begins, and what would have it begin at once.
//
// Types to know: Shell, which makes the commands. Text takes the answer of a coordinator.
//
// It is not: the look ahead itself, which the coordinator's scheduler takes.
package outlook
