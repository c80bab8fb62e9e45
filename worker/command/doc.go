// Package command knows what Tandem and a program of the user's say to each other: the environment that a rank begins with, the lines by
// which it reports metrics, and what its end means.
//
// Types to know: Member, who is in a gang; Rank, what it is told; Metrics, a line of its output; End, how its process ended.
//
// Invariants:
//   - All of it is pure: values in, values out. DESIGN.md beside this says who starts the program and how it is confined.
//   - The ranks of a gang depend on its members and their order alone, so each node works them out for itself.
//   - What a program writes is text of a stranger: a line is bounded before it is looked at, and one that is wrong is
//     named and harms nothing.
//
// It starts nothing yet: jobs of kind command are not accepted until an agent can confine them.
package command
