package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

// measurement is one table.
type measurement struct {
	name  string
	write func(w io.Writer, o options)
}

// options are what the flags say.
type options struct{ seeds, jobs int }

func main() {
	all := []measurement{{"policies", policies}, {"growth", growth}, {"forecast", forecasts}}
	var o options
	only := flag.String("only", "", "print only this table: policies, growth or forecast")
	flag.IntVar(&o.seeds, "seeds", 5, "traces of each shape")
	flag.IntVar(&o.jobs, "jobs", 2000, "jobs in each trace")
	flag.Parse()
	some := false
	for _, m := range all {
		if *only == "" || *only == m.name {
			m.write(os.Stdout, o)
			some = true
		}
	}
	if !some {
		fmt.Fprintf(os.Stderr, "schedule: there is no table %q: use policies, growth or forecast\n", *only)
		os.Exit(1)
	}
}
