// Command trials measures what the coordinator costs a sweep: trials that do nothing but take their time, on agents that are played
// here, against three coordinators on loopback with their logs on disk. It needs no libtorch.
//
//	go run ./bench/trials [-trials 10000] [-slots 16] [-length 1s] [-reports 2000] [-out bench/results]
//
// sweep.trials.lost is the share of the time that is lost against trials x length / slots; report.acknowledged is how long a report
// takes to be durable, one at a time; report.rate is how many a second are when all agents report at once.
package main
