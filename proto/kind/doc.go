// Package kind says what the jobs of a kind are and what the stages of their trials do: two tables that every layer asks, so that a new
// kind is a row here and not an if in each of them.
//
// Invariants: each kind and each stage of the schema has a row (the test walks the enums); a row is a value and is never changed; a kind or
// stage that this program does not know has no trait, so nothing is done to it that it may not stand.
//
// It is not what a kind needs done: a spec of it is completed by coordinator/spec, and what its engines do is in worker/engine.
//
// It is here, beside the schema, because the coordinator and the CLI ask alike and import nothing of each other.
package kind
