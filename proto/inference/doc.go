// Package inference is what the gateway of a coordinator and the agents agree on when a request for a replica goes from
// one to the other. The requests themselves are of the Open Inference Protocol v2.
//
// Names to know: Replicas, where the replicas of a node are; AgentAnswer, by which an agent says that no replica answered.
package inference

// Replicas is the path of the replicas on an agent's HTTPS port; the replica's id and the path of the protocol follow.
const Replicas = "/replicas/"

// AgentAnswer is the header that tells answers of an agent from those of its replicas. Its value says why no replica
// answered: Refused, Unreached or Broken. The body is {"error": message}, as in the protocol.
const AgentAnswer = "Tandem-Agent-Answer"

// Values of AgentAnswer.
const (
	// Refused: who asked may not.
	Refused = "refused"
	// Unreached: the replica is not there or takes no connections; it has nothing of the request.
	Unreached = "unreached"
	// Broken: the replica had the request and broke off before its answer began.
	Broken = "broken"
)
