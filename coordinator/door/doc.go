// Package door holds the limits of the coordinator's port: how fast a body must come and how large it may be.
//
// Types to know: Pace (the slowest body that is still read), Body (a request's body under its limits).
//
// Invariants: no request body is read without a deadline; a limit that is reached is an error that says which one and what to
// do. It knows nothing of who asks: package api does.
package door
