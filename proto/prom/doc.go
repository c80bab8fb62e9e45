// Package prom is what the metrics of coordinators and of agents have in common: what each of them shows of itself, and how
// a HELP text says of whom a metric tells.
//
// Names to know: Scope, which ends each HELP text; NewRegistry, with which each process begins.
//
// Invariants, which promtest checks for all metrics of a process: each name is "tandem_...", follows the conventions of
// Prometheus and stands in docs/operations.md; each HELP ends with a Scope; no label is the id of anything, so that series do not
// grow with jobs and trials.
//
// It is here, beside the schema, because coordinator and worker show metrics alike and import nothing of each other.
package prom
