package layout

import "fmt"

// Artifacts is before the keys of all artifacts.
const Artifacts = "artifacts/"

// Artifact is the key of a user's file, under its own SHA-256 in hexadecimal.
func Artifact(sha256 string) string { return Artifacts + sha256 }

// Dataset is before "/" and the names of the objects of a version of a dataset. Its manifest has the hashes of all of them, so that one
// key stands for the same bytes whoever writes it.
func Dataset(id, manifestSHA256 string) string { return Datasets(id) + manifestSHA256 }

// Datasets is before the keys of all that was committed under one id.
func Datasets(id string) string { return "datasets/" + id + "/" }

// Uploads is before the keys of all that clients sent for datasets.
const Uploads = "uploads/"

// Upload is before "/" and the names of what a client sent for a dataset that is not committed yet. Only what is there may change.
func Upload(datasetID string) string { return Uploads + datasetID }

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
