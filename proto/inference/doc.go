// Package inference is what the gateway of a coordinator, the agents and the replicas agree on when a request of the Open Inference
// Protocol v2 goes from one to the other: its limits, how an endpoint and an error of the protocol look, and how an agent says that no
// replica answered.
//
// Names to know: MaxRows, MaxBody and MaxAnswer; Handle mounts an endpoint, Fail answers with an error; Replicas is where the replicas
// of a node are; AgentAnswer.
//
// It reads no tensors: package serve of the worker does.
package inference

// Limits of one request. They are those of the table in docs/operations.md.
const (
	// MaxRows is how many rows it may have.
	MaxRows = 4096
	// MaxBody is how many bytes its body may have, unpacked.
	MaxBody = 32 << 20
	// MaxAnswer is how many bytes its answer may have, as they are reckoned before it is made.
	MaxAnswer = 64 << 20
)

// HeaderLength is the header that says how many bytes of a body are JSON; the data of tensors follow them.
const HeaderLength = "Inference-Header-Content-Length"

// Extensions are those of the protocol's that are spoken, by the names that Triton gave them.
func Extensions() []string { return []string{"binary_tensor_data"} }

// Replicas is the path of the replicas on an agent's HTTPS port; the replica's id and the path of the protocol follow.
const Replicas = "/replicas/"

// AgentAnswer is the header that tells answers of an agent from those of its replicas. Its value says why no replica
// answered: Refused, Unreached or Broken. The body is {"error": message}, as in the protocol.
const AgentAnswer = "Tandem-Agent-Answer"

// Values of AgentAnswer.
const (
	// Refused: who asked may not.
	Refused = "refused"
	// Unreached: the replica does not exist or takes no connections; it has nothing of the request.
	Unreached = "unreached"
	// Broken: the replica had the request and broke off before its answer began.
	Broken = "broken"
)
