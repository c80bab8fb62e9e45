// Package api is the face of the coordinator: the services of proto/tandem/v1 over Connect, gRPC, gRPC-Web and REST.
//
// Types to know: API (Handler serves it all), Deps (what it asks of the rest of the coordinator),
// Principal (who asks).
//
// Invariants:
//   - Reads are linearizable and writes durable when they are answered, on whichever coordinator. Streams show the state
//     of the coordinator they are open to, now and at each change.
//   - Every procedure has its line in the access table (access.go); one without it is refused.
//   - Every write has a request id; one is made when the client gave none.
//   - Handlers return plain errors; one table (errors.go) maps them to codes.
//
// One file a noun. It decides nothing about jobs: that is package fsm, behind consensus.
package api
