// Package serve is a replica: one version of a model behind the REST form of the Open
// Inference Protocol v2.
//
// Replica holds the version, Handler speaks HTTP, Decode reads a request, whose numbers are JSON or
// follow it as bytes (the binary tensor extension). A request brings raw rows; they are normalised
// by the very function that training used.
//
// Invariants: nothing of a version is used before its sha256 was checked, and no request is
// answered before the probes were. A request is checked whole before the model sees it; what
// is wrong with it is said in the answer. At most Concurrency requests are computed at a
// time and Queue wait; more are refused at once. A request that was taken is answered even
// when the replica is asked to stop. One that is computed for longer than Deadline ends the
// replica: a call into the model cannot be ended but with its process.
//
// It knows nothing of other replicas, of aliases or of who may ask: the gateway does.
package serve
