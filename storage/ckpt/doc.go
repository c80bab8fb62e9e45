// Package ckpt keeps training checkpoints: immutable safetensors shards and a sealed
// manifest that names the sha256 of each. FORMAT.md has every byte.
//
// Save writes, Load reads, Verify reads without keeping, List finds what is
// committed, Delete takes away. A Manifest is all that a resume needs besides the tensors.
//
// Invariants: the manifest is written last, with PutIfAbsent, and is the commit; a prefix
// without one holds nothing. Shard names contain their sha256, so a second writer cannot
// damage what the first has committed. Whatever is torn, damaged or belongs to another
// trial is refused, never loaded in part.
//
// It does not know which checkpoint the cluster has agreed on; that is in the coordinator's
// state. It does not look into the tensors.
package ckpt
