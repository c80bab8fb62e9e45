// Package engine does the work of one rank or one replica: it is what the program tandem-engine consists of.
//
// Types to know: Main (the program), Config (what its agent tells it on the command line). engine.go gets the task and says how it ended;
// train.go, publish.go and serve.go put the parts together for one kind of task each; libtorch.go fits worker/torch to what those parts
// ask for; host.go is the line to the agent.
//
// Invariants: an engine gives up its rights before it opens anything of a user (worker/seal); it never outlives its agent: the kernel kills
// it with its parent, it ends when its stream of commands ends, and it looks at its parent's id.
//
// It is not how a step or a checkpoint is made: that is in the packages that it puts together.
package engine
