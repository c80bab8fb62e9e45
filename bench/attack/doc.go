// Package attack is a hostile client of a coordinator: bodies that never end, bodies that come a byte at a time, bodies that are small
// until they are unpacked, wrong tokens, joins without a token, and connections that say nothing, with a user's token and without one.
//
// Types to know: Attacker (Run attacks until its context ends), Counts (what it was answered).
//
// Tests and benchmarks run it beside honest clients. It knows no way in: what it gets is refusals.
package attack
