// Package child starts processes that cannot outlive this program, not even when it is killed with -9.
//
// To know: Starter, KeepInherited for what they must not inherit, and Process, which finds again one that the kernel should have ended.
//
// The kernel sends a child its parent-death signal when the thread that started it ends, not the process; and a thread of
// Go's pool may end at any time. So a goroutine, locked to its thread, starts them and lives as long as they may: one for all
// processes that are alike, and one for each that inherits something of its thread (StartFrom).
//
// It neither watches nor restarts processes: see worker/agent for engines, cmd/tandem/local for the parts of a cluster.
package child
