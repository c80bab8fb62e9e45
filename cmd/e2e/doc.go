// Package e2e shows what Tandem promises with real processes: coordinators, agents and engines on loopback, and a real S3
// protocol. Its tests build the two programs as they are, start clusters in temporary folders on free ports, hurt them,
// and leave nothing behind: each cluster checks at its end that none of its processes is left.
//
// The types to know are cluster (programs that run), process (one of them) and step (what a test waits for).
package e2e
