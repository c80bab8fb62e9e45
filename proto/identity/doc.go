// Package identity says who a node is and how it proves it: certificates with roles, bearer and join tokens, the TLS
// settings that follow from them, and the client side of joining a cluster.
//
// Types to know: Identity (cluster, role, node), Credentials (all that a node keeps in its pki folder), JoinToken.
//
// Invariants:
//   - A node's certificate carries the URI tandem://<cluster>/<role>/<node> and the DNS names <role>.tandem.internal
//     and <node>.tandem.internal. Nodes verify each other by these names, never by the address they dialled, so that a
//     node may move and so that plain crypto/tls does the whole check.
//   - Every chain that a server presents ends with the CA's own certificate, so that one who joins can pin its hash.
//   - Files are written with mode 0600 in a folder of mode 0700; what is kept of a token elsewhere is its SHA-256.
//
// It is here, beside the schema, because coordinator and worker speak it alike and import nothing of each other. It
// signs nothing: the CA's key belongs to coordinator/pki.
//
// Renewal: certificates of nodes last five years. A coordinator signs its own anew at its start when a third of that
// is left; a worker whose folder is emptied joins once more with a new token, as a new node.
package identity
