// Package coordinator puts a coordinator together: identity, one TLS port, Raft, gossip, the API, the gateway to
// replicas, and the leader's loops.
//
// Types to know: Config, Coordinator (New binds the ports and opens the data folder, Run serves), Join (makes the data
// folder of a coordinator that joins a cluster there is).
//
// Invariants: everything is on one port: Raft by its own ALPN name, for coordinators' certificates only; HTTP for all
// others. The first start on an empty folder makes a cluster; every other start goes on with what is there. Nothing is
// served to anybody who has not proved who it is, but for /livez, /readyz and joining.
//
// It holds no logic of its own: what it decides is in the packages it wires.
package coordinator
