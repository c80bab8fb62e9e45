// Package sandbox confines the processes of engines from before they run: what a stranger's model may touch is decided here.
//
// Types to know: Host, what a node has and its operator chose; Need, what one engine needs; Policy, the pure outcome of both;
// Confine, which applies a policy to the thread that starts the process; Features, what this kernel and user can do.
//
// Invariants:
//   - A policy is a value, computed by a pure function (Host.Policy); what applies it decides nothing.
//   - What the process inherits is in force before its first instruction: user, no_new_privs, no capabilities, Landlock.
//     Limits and the filter of system calls it sets itself (worker/seal), and the agent looks (Check) before it gives a task.
//   - The agent itself is never confined: only threads that it gives up afterwards.
//   - What is missing is named (Features.Lacks), and Check holds a process to what was promised.
//
// It is not a judge of models: which operators they may use is decided when they are submitted.
package sandbox
