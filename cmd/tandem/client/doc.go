// Package client reaches a cluster from outside: who to ask (contexts) and how (several coordinators tried in turn).
//
// Types to know: Context (endpoints, CA, token), File (the contexts of a user), Client (all services of the API).
//
// Invariants:
//   - A file that others can read is not used: it holds tokens.
//   - A call is repeated only when that cannot do a thing twice: it never left, it only reads, or it carries a
//     request_id, by which the coordinators know it again.
//   - A server has to prove with the context's CA that it is a coordinator; its address does not matter.
//
// It is not for nodes, which use certificates (proto/identity).
package client
