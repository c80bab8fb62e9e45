// Command schedule measures what the scheduler decides, and how long it takes: generated traces through it, parts of it, and the policies
// that it is compared with, all in virtual time (scheduler/sim); a pass of it on clusters of 100 to 10,000 nodes; and how often its
// forecasts hold.
//
//	go run ./bench/schedule [-only policies|growth|forecast] [-seeds 5] [-jobs 2000]
//
// It is a program of its own because it is pure Go and needs no cluster. It prints tables in Markdown. What the traces and the policies are
// is in scheduler/sim; the tables and how to read them are in bench/README.md.
package main
