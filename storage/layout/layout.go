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
