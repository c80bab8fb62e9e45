// Package searchtest has problems whose answer is known, to test and measure ways of searching on: functions with published optima, and a table of
// learning curves that were recorded once.
//
// The types to know are Problem (a space, and what a point of it costs and yields) and the list All.
//
// It is not: part of the program. Only tests and bench import it.
package searchtest
