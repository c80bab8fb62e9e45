// Package pki is the cluster's certificate authority: it makes the CA once, keeps its key beside the coordinator's own
// credentials, and signs the certificates of nodes. What nodes do with them is in proto/identity.
//
// Every coordinator holds the CA's key, so that nodes can join whichever coordinator is up.
package pki
