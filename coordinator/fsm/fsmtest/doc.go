// Package fsmtest is a state and the state machine that writes it, for tests of what decides on it.
//
// Types to know: World. It has no Raft: what is proposed is applied at once.
package fsmtest
