// Command optima measures how near every method of search comes to the published optima of scheduler/search/searchtest, at equal budget and in the
// median over seeds, beside random search (the floor), goptuna's own samplers and SciPy's optimizers.
//
//	go run ./bench/optima [-seeds 50] [-json]
//
// It is a program of its own because it is pure Go, which bench is not: bench runs it for the group "search".
package main
