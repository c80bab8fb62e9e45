// Package relay carries a storage.Store over HTTP, so that a process that may not hold the keys of a store can use a part of it.
//
// Handler serves a store to whoever the caller's Allow says; Client is a storage.Store that speaks to it. Bodies are streamed in both
// directions, with their checksum before them: the side of the Handler holds no more of an object than a buffer, or what PutIfAbsent
// takes. So the Client tries a body again that the store did not take.
//
// Invariants: nothing reaches the store that Allow has not seen, with the very key or prefix that is used; the errors of the store arrive
// as the sentinels of package storage.
//
// It knows nothing of who asks: the transport does. It is not meant for other machines.
package relay
