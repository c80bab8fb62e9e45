// Package layout has the key of everything in the store, so that what writes a thing, what reads it and what deletes it agree.
//
//	datasets/<dataset>/<manifest>/        a version of a dataset, below the hash of its manifest: manifest.json and shards (storage/dataset/FORMAT.md)
//	uploads/<dataset>/                    what a client sent for it before it was committed
//	artifacts/<sha256>                    a file of a user: his own model
//	trials/<trial>/ckpt/<step>-g<gen>/    a checkpoint (storage/ckpt/FORMAT.md)
//	trials/<trial>/logs/<time>-...jsonl   what its engines printed
//	trials/<trial>/metrics/<kind>/...     records of its steps, beats and spans (storage/metric/FORMAT.md)
//	models/<version>/                     a version of a model (storage/version/FORMAT.md)
//	audit/<coordinator>/<time>.jsonl      who did what
//
// Invariants: keys are made of ids that Tandem makes and of hashes, never of a user's text, so they name no project: the row of the id
// does; a prefix ends with "/" if and only if it is for listing (Logs, Metrics, Artifacts, Datasets, Uploads); all objects of a trial are
// below Trial.
//
// It is not what is in the objects: that is said where they are written.
package layout
