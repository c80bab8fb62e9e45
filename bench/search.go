package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// searches runs bench/optima, prints its table and makes figures of it: the distance from the optimum of each method beside that of random search.
func searches(ctx context.Context, _ Config) ([]Figure, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "run", "./bench/optima", "-json")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run bench/optima: %w", err)
	}
	var rows []struct {
		Problem, Method string
		Median, Needed  float64
	}
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		return nil, fmt.Errorf("read what bench/optima printed: %w", err)
	}
	floor, needed := map[string]float64{}, 0.0
	for _, r := range rows {
		if r.Method == "random" {
			floor[r.Problem], needed = r.Median, max(needed, r.Needed)
		}
	}
	var figures []Figure
	beside := func(name, unit string, ours, random float64) {
		figures = append(figures, Figure{Name: name, Unit: unit, Ours: ours, Peer: random, PeerName: "random search",
			Ratio: ours / random, Goal: "ratio < 1", Met: ours < random, Runs: []float64{ours}})
	}
	for _, r := range rows {
		name := "search." + r.Problem + "." + strings.NewReplacer(", ", ".", ": ", "-", " ", "-").Replace(r.Method)
		if r.Method == "random" {
			continue
		}
		beside(name, "from the optimum", r.Median, floor[r.Problem])
		if r.Needed > 0 {
			beside(name+".needed", "trainings to 0.01", r.Needed, needed)
		}
	}
	return figures, nil
}
