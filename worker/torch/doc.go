// Package torch is Tandem's hold on libtorch: TorchScript modules, process
// groups and the training step. It is the only package of ours with cgo.
//
// gotch provides tensors and TorchScript loading; what it lacks (c10d's process
// groups and Reducer, building TorchScript, optimizers whose state can be
// saved) is in the C++ files here, which work on the same at::Tensor and
// torch::jit::Module pointers. shim.h is the border: opaque handles, a status
// from every call, no exception and no retained Go pointer crosses it.
//
// The types to know: Module (a scripted model), Group (one rank's end of a
// process group), Trainer (a module with its optimizer; one C call a step).
// All of them own memory outside Go: Close them, nothing relies on finalizers.
//
// A Trainer and the collectives of its Group belong to one goroutine, which
// does best to call runtime.LockOSThread: libtorch keeps thread pools and
// allocator arenas per thread. Group.Abort may be called from anywhere.
//
// Without cgo only the plain types are there (ModuleDef, Tensor, Device, the
// errors), so that what describes models or state builds everywhere.
//
// It is not a place for training policy: batches, schedules, checkpoints and
// stopping are worker/train's.
package torch
