// Package promtest checks all metrics of a process: names, labels, HELP texts, and that docs/operations.md lists them. Tests of
// coordinator and agent call it with their registries, once everything that is shown at times only is there.
package promtest
