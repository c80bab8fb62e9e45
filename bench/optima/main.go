package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"tandem.dev/scheduler/search"
	"tandem.dev/scheduler/search/searchtest"
)

// Row is what one way of searching found on one problem.
type Row struct {
	Problem string `json:"problem"`
	// Method is ours, or that of a peer: "goptuna tpe", "scipy dual_annealing".
	Method string `json:"method"`
	// Median over the seeds of the distance from the optimum, one trial at a time, after the budget of the problem.
	Median float64 `json:"median"`
	// Four is the same with four trials at a time; 0 for peers.
	Four float64 `json:"four"`
	// Needed is the median of whole trainings until it was nearer than 0.01, four at a time; only for the table of digits, 0 else.
	Needed float64 `json:"needed"`
}

// ours are the methods in the order of the table.
var ours = []struct {
	name   string
	method search.Method
}{
	{"random", search.Method{Name: search.Random}},
	{"grid", search.Method{Name: search.Grid}},
	{"sobol", search.Method{Name: search.Sobol}},
	{"tpe", search.Method{Name: search.TPE}},
	{"cmaes", search.Method{Name: search.CMAES}},
	{"random, stop: median", search.Method{Name: search.Random, Stop: search.StopMedian}},
	{"tpe, stop: median", search.Method{Name: search.TPE, Stop: search.StopMedian}},
	{"tpe, stop: asha", search.Method{Name: search.TPE, Stop: search.ASHA}},
	{"asha", search.Method{Name: search.ASHA}},
	{"asha, variant: stop", search.Method{Name: search.ASHA, Variant: search.VariantStop}},
	{"asha, sampler: tpe", search.Method{Name: search.ASHA, Sampler: search.TPE}},
	{"asha, sampler: cmaes", search.Method{Name: search.ASHA, Sampler: search.CMAES}},
	{"hyperband", search.Method{Name: search.Hyperband}},
	{"bohb", search.Method{Name: search.BOHB}},
	{"pbt", search.Method{Name: search.PBT}},
}

// budget of a problem in whole trainings.
func budget(p searchtest.Problem) float64 {
	if p.Table {
		return 30
	}
	return 100
}

func main() {
	seeds := flag.Int("seeds", 50, "seeds of each method")
	asJSON := flag.Bool("json", false, "print the rows as JSON")
	flag.Parse()
	rows, err := measure(context.Background(), *seeds)
	if err == nil && *asJSON {
		err = json.NewEncoder(os.Stdout).Encode(rows)
	} else if err == nil {
		print(os.Stdout, rows)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "optima:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, seeds int) ([]Row, error) {
	var rows []Row
	for _, p := range searchtest.All() {
		for _, m := range ours {
			if m.name == "grid" && !p.Table {
				continue // its counts would be ours to choose
			}
			r := Row{Problem: p.Name, Method: m.name}
			var err error
			if r.Median, err = searchtest.Median(p, m.method, budget(p), 1, seeds); err != nil {
				return nil, fmt.Errorf("%s on %s: %w", m.name, p.Name, err)
			}
			if r.Four, err = searchtest.Median(p, m.method, budget(p), 4, seeds); err != nil {
				return nil, fmt.Errorf("%s on %s: %w", m.name, p.Name, err)
			}
			if p.Table {
				if r.Needed, err = searchtest.Needed(p, m.method, 0.01, 4, seeds); err != nil {
					return nil, fmt.Errorf("%s on %s: %w", m.name, p.Name, err)
				}
			}
			rows = append(rows, r)
		}
		theirs, err := peers(ctx, p, seeds)
		if err != nil {
			return nil, err
		}
		rows = append(rows, theirs...)
	}
	return rows, nil
}

// print a table for people, in Markdown: one line a method. What does not beat random search is in brackets.
func print(w io.Writer, rows []Row) {
	problems, methods := []string{}, []string{}
	for _, m := range ours {
		methods = append(methods, m.name)
	}
	at := map[[2]string]Row{}
	for _, r := range rows {
		if !slices.Contains(problems, r.Problem) {
			problems = append(problems, r.Problem)
		}
		if !slices.Contains(methods, r.Method) {
			methods = append(methods, r.Method)
		}
		at[[2]string{r.Problem, r.Method}] = r
	}
	fmt.Fprintf(w, "| method | %s | trainings to 0.01 |\n|%s\n", strings.Join(problems, " | "), strings.Repeat("---|", len(problems)+2))
	for _, m := range methods {
		fmt.Fprintf(w, "| %s |", m)
		needed := "-"
		for _, p := range problems {
			r, ok := at[[2]string{p, m}]
			floor := at[[2]string{p, "random"}]
			switch {
			case !ok:
				fmt.Fprint(w, " - |")
			case r.Four == 0:
				fmt.Fprintf(w, " %s |", cell(r.Median, floor.Median, m))
			default:
				fmt.Fprintf(w, " %s / %s |", cell(r.Median, floor.Median, m), cell(r.Four, floor.Four, m))
			}
			if r.Needed > 0 {
				needed = fmt.Sprintf("%.3g", r.Needed)
			}
		}
		fmt.Fprintf(w, " %s |\n", needed)
	}
}

func cell(v, floor float64, method string) string {
	if v >= floor && method != "random" {
		return fmt.Sprintf("(%.2g)", v)
	}
	return fmt.Sprintf("%.2g", v)
}
