// Package door holds the limits of the coordinator's port: how fast a body must come and how large it may be, how many connections,
// calls and bytes there may be at once, and how many of them one caller may have.
//
// Types to know: Limits (all of them), Arrivals (the handshakes of each address), Body (a request's body within its limits), Unpack
// (the one place where bodies are unpacked), Callers (the budget of each token, node and address), Crowd (a listener that closes
// connections beyond a number), KeepMemory (gives memory back).
//
// Invariants: no request body is read without a deadline; what a caller holds is given back when its call ends; a limit that is reached
// is an error that says which one. It knows nothing of who may do what: package api does.
package door
