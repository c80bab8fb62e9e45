// Package gateway answers Open Inference Protocol v2 over REST at the coordinator's port and passes requests on to the
// replicas that serve a model.
//
// Types to know: Gateway (an http.Handler for /v2).
//
// Invariants: a request goes to a replica that the state holds for ready, the one with the least in flight from here;
// when the connection to it fails, or it is busy, the request is tried on others, or once more on the only one there is
// when its connection failed; what the replica answers comes back as it is, errors of validation too. Replicas are called over mTLS and must prove to be on
// the node that the state says.
//
// A client that is gone is told nothing and counted as gone; what is wrong with a request is the client's fault and never a failure of
// the model.
//
// It keeps nothing: any coordinator answers. It does not pack answers, which would cost the coordinator more than the network: a
// client that accepts packed ones takes plain ones too.
package gateway
