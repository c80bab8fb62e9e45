// Package gossip is how nodes find each other and notice that one is gone: a thin adapter of hashicorp/memberlist.
//
// All nodes of a cluster, coordinators and workers, are in one ring, encrypted with the cluster's gossip key
// (AES-256-GCM). What a member says of itself is a hint, never a proof: who it is shows its certificate when it is
// called (proto/identity).
//
// Types to know: Gossip (Run joins and keeps joining; Members is who is alive now; Changed wakes a watcher), Member.
//
// It is here, beside the schema, because coordinator and worker speak it alike and import nothing of each other.
package gossip
