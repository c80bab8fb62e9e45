// Package coordtest runs a whole Raft cluster of coordinators in one process, with memory for disks and function calls
// for a network, so that tests can cut links, kill peers and start them again. It runs inside a testing/synctest bubble,
// where hours of faults take seconds, as well as outside.
//
// A Cluster is the peers and the links between them. It is for tests only.
package coordtest
