// Package version is the format of a version of a model: an immutable folder of files in the
// store that any libtorch can load and that a replica can trust. FORMAT.md has every file, for
// those who read one without this package.
//
// Save writes a version, Open reads one, Manifest describes it, Signature one of its tensors.
// Probe is a question with its known answer, and Model is what answers it.
//
// Invariants: the manifest is written last, with PutIfAbsent, and is the commit. It names the
// sha256 of every other file. What exists is never written again. There is one way from raw
// inputs to outputs (Answer), for probes, test metrics and serving alike.
//
// It makes no model and asks none of its own accord: worker/publish and worker/serve do. It
// does not number versions and moves no alias: the coordinator does.
package version
