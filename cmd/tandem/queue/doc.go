// Package queue has the commands about the place of a job among those that wait: explain and plan say what is ahead of it (its place,
// when it begins, and what would have it begin at once), set changes its priority or its pool.
//
// Types to know: Shell, which makes the commands. Text writes the answer of a coordinator for people.
//
// It is not: the look ahead itself, which the coordinator's scheduler takes.
package queue
