// Package torchscript knows the files of TorchScript models: what is in them, and what the code in them may do.
//
// Inspect reads a file without running or even compiling anything of it, and refuses what no honest file has: another format, entries that
// grow when they are unpacked, names that torch.jit.save does not write, tensors that show more than is stored of them, objects of C++ libraries,
// values nested too deeply, operators that are not on the allow-list. Operators is that list; DESIGN.md says how it was made.
//
// Invariants: what is read is bounded, whatever the file says of itself. An operator that nobody has looked at is refused.
//
// It is not the authority: worker/torch compiles the code of a file, makes its objects and walks them by the same list before it loads
// anything. This package tells users in seconds, where libtorch is not linked.
package torchscript
