// Package consensus replicates commands with Raft and answers where the state is known to be current.
//
// A Node is one coordinator's part: Propose takes a command from any node to the leader and returns its Result, View
// gives a linearizable read on any node, Lead runs the leader's duties while this node leads.
//
// Invariants: a Result that was returned is durable on a majority; a command that is not Repeatable is never sent
// twice; a View shows every command whose Result was returned, anywhere, before View was called; a node whose disk
// fails or hangs ends its process, so that the others can go on without it; where they cannot, it waits for a disk that hangs or is full.
//
// It decides nothing about jobs: that is package fsm, which it feeds.
package consensus
