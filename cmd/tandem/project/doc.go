// Package project has the commands that make, show and choose projects.
//
// The type to know is Shell, which makes them. Which project a command works in is decided by In, and who may do what by the cluster.
//
// It is not: the header that says the project of a call, which is the client's.
package project
