// Package storetest is the conformance suite of storage.Store. Every implementation runs
// it; what it checks is what the rest of Tandem may rely on.
package storetest
