// Package memstore is a storage.Store in memory, for tests. It passes the same conformance
// suite as the real ones and can be told to fail: a Hook sees every operation before it
// happens and may delay it, refuse it, tear a write, or lose the answer of an operation
// that did take effect. Its contents can be damaged bit by bit.
//
// It is not a cache and keeps nothing over a restart.
package memstore
