// Command tandem is the command line, the coordinator, the agent of a worker, and a whole cluster on one machine.
//
// Types to know: app, what all commands share (streams, flags, the client); part, a piece of output; reporter, live
// progress. One file per noun: job.go, dataset.go, node.go ... as in all other layers. Packages below have a vocabulary
// of their own: client (contexts, retries), spec (YAML to JobSpec), local (a cluster as child processes).
//
// Invariants: standard output carries the answer and nothing else, all talk goes to standard error; every command that
// shows something obeys -o; an exit code says what became of it (exit.go).
//
// It decides nothing: what can be right is the coordinator's to say.
package main
