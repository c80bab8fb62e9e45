// Package room finds out whether something can be written where an agent and its engines write: a node whose disk is full or
// read-only is to get no new work, and whoever operates it is to hear of it before a task fails.
//
// Types to know: Watch.
//
// Invariants: a look leaves nothing behind; of several folders of one disk the first is named; a folder that was full is so until
// it takes a good deal again.
//
// It is not the limit of what an engine may take (worker/agent looks after that), nor the room in the store.
package room
