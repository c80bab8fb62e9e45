// Package audit is the log of who did what at a coordinator, or was denied what.
//
// Types to know: Log (Record appends, Run seals and exports, List reads).
//
// Invariants: one line of JSON an entry, appended at once, in files of mode 0600 that only grow; each line has the hash of the one
// before it, so that a change or a cut shows. Denied calls that are alike are counted by the second, so that a flood of them does not
// fill the disk. A file that is full or an hour old is sealed, copied to the store under audit/<coordinator>/, and deleted when newer
// ones have taken its place. Nothing goes through Raft: each coordinator keeps what it was asked itself.
//
// A line that cannot be written does not stop the coordinator: it is counted and logged as an error.
package audit
