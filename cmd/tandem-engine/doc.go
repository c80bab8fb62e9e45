// Command tandem-engine does the work of one rank or one replica, in a process of its own:
// the only program that is linked to libtorch. Its agent starts it.
//
//	tandem-engine run --socket <agent's unix socket> --engine <id>
//	tandem-engine devices
//
// engine.go gets the task and says how it ended; train.go, publish.go and serve.go put the
// parts together for one kind of task each; libtorch.go fits worker/torch to what those
// parts ask for; host.go is the line to the agent.
//
// An engine never outlives its agent: the kernel kills it with its parent, it ends when its
// stream of commands ends, and it looks at its parent's id.
package main
