// Package cgroup divides the cgroup (version 2) of this process among its children: each gets one of its own, whose memory and processes the
// kernel bounds.
//
// Types to know: Tree, a cgroup that is divided; Group, that of one child; Limits, what it may have; Toll, what its limits cost it.
//
// Invariants:
//   - Only a cgroup is divided that this process has to itself and may write to. Others' processes are never moved.
//   - A child is in its cgroup before its first instruction, and everything in it ends with the child.
//   - Find changes nothing; it says why a cgroup cannot be divided.
//
// It decides no limits and starts no processes: see worker/sandbox and worker/agent.
package cgroup
