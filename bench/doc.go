// Command bench measures what Tandem promises, each figure beside a peer's in the same run, and prints the ratio.
//
// This machine and most others are shared and drift, so both sides run in turn, several times, and the medians are
// compared. It writes bench/results/<date>.json: a list of Figure. README.md says how to reproduce each figure.
//
//	go run ./bench [-runs 5] [-seconds 4] [-only throughput,cluster] [-out bench/results]
package main
