// Package layout has the key of everything in the store, so that what writes a thing, what reads it and what deletes it agree.
//
//	datasets/<dataset>/                   a version of a dataset: manifest.json and shards (storage/dataset/FORMAT.md)
//	artifacts/<sha256>                    a file of a user: his own model
//	trials/<trial>/ckpt/<step>-g<gen>/    a checkpoint (storage/ckpt/FORMAT.md)
//	trials/<trial>/logs/<time>-...jsonl   what its engines printed
//	trials/<trial>/metrics/<kind>/...     records of its steps, beats and spans (storage/metric/FORMAT.md)
//	models/<version>/                     a version of a model: manifest.json, model.pt, model.safetensors, probes
//	audit/<coordinator>/<time>.jsonl      who did what
//
// Invariants: keys are made of ids that Tandem makes and of hashes, never of a user's text; a prefix ends with "/" if and only if it is for
// listing (Logs, Metrics, Artifacts); all objects of a trial are below Trial.
//
// It is not what is in the objects: that is said where they are written.
package layout

import "fmt"

// Artifacts is before the keys of all artifacts.
const Artifacts = "artifacts/"

// Artifact is the key of a user's file, under its own SHA-256 in hexadecimal.
func Artifact(sha256 string) string { return Artifacts + sha256 }

// Dataset is before "/" and the names of the objects of a version of a dataset.
func Dataset(id string) string { return "datasets/" + id }

// Version is before "/" and the names of the objects of a version of a model.
func Version(id string) string { return "models/" + id }

// Trial is before "/" and all that a trial stores.
func Trial(id string) string { return "trials/" + id }

// Checkpoints is before "/" and the checkpoints of a trial.
func Checkpoints(trial string) string { return Trial(trial) + "/ckpt" }

// Checkpoint is before "/" and the names of the objects of a checkpoint, below what Checkpoints returns. Names are in order of steps.
func Checkpoint(checkpoints string, step, generation int64) string {
	return fmt.Sprintf("%s/%012d-g%d", checkpoints, step, generation)
}

// Logs is before the keys of the log of a trial.
func Logs(trial string) string { return Trial(trial) + "/logs/" }

// Metrics is before the records of a trial: of one kind, or of all when it is empty.
func Metrics(trial, kind string) string {
	if kind == "" {
		return Trial(trial) + "/metrics/"
	}
	return Trial(trial) + "/metrics/" + kind + "/"
}

// Audit is before the names of the files of a coordinator's audit log.
func Audit(coordinator string) string { return "audit/" + coordinator + "/" }
