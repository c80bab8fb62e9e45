// Package seal lets the process of an engine give up, by itself, the system calls that it needs no more: to start programs and processes,
// to trace and signal others, and all that computing has no use for. It is called when libtorch is loaded and before any model is opened.
//
// The type to know is Options; Close does it, for all threads, those of libtorch too, and for good.
//
// Invariants:
//   - The list says what is allowed. A call that is not on it fails with EPERM, one that libraries have another way for with ENOSYS.
//   - Processes cannot be made, only threads. Signals reach this process only.
//
// The rest of the confinement is inherited from the agent: see worker/sandbox.
package seal
