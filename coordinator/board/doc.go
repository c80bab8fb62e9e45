// Package board holds what is heard of but not decided: how far trials are, and which agents have a session.
//
// Types to know: Board, the facts that this coordinator knows; Sharer, which tells them to the others, so that each of them can show
// progress and a new leader knows who is there; Clocks, what each coordinator hears of the clocks of others.
//
// Invariants: it lives in memory only, and whoever loses it hears it all again within seconds; what is older than what is known changes
// nothing; it is as small as the state (Keep).
//
// It is not the state: nothing here is agreed on, so nothing that must be the same on all coordinators may follow from it.
package board
