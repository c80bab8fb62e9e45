package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Config says what to measure.
type Config struct {
	// Trials of the sweep, the slots they share, and how long each takes.
	Trials, Slots int
	Length        time.Duration
	// Nodes is how many agents the slots are on.
	Nodes int
	// Reports is how many are timed one after the other, and ten times as many all at once.
	Reports int
	// Out is the folder of the results.
	Out string
	// Profile is the file that a profile of the processor goes to while the trials run; empty: none.
	Profile string
}

// Figure is one measured number.
type Figure struct {
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Ours    float64 `json:"ours"`
	Goal    string  `json:"goal"`
	Met     bool    `json:"met"`
	Setting string  `json:"setting"`
	Machine string  `json:"machine"`
}

func main() {
	var c Config
	flag.IntVar(&c.Trials, "trials", 10_000, "trials of the sweep")
	flag.IntVar(&c.Slots, "slots", 16, "slots they share")
	flag.DurationVar(&c.Length, "length", time.Second, "time each takes")
	flag.IntVar(&c.Nodes, "nodes", 2, "agents that the slots are on")
	flag.IntVar(&c.Reports, "reports", 2000, "reports that are timed one after the other")
	flag.StringVar(&c.Out, "out", "bench/results", "folder of the results")
	flag.StringVar(&c.Profile, "profile", "", "file for a profile of the processor while the trials run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "trials:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c Config) (err error) {
	dir, err := os.MkdirTemp("", "tandem-trials-")
	if err != nil {
		return fmt.Errorf("make a folder for the cluster: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is in the system's folder for temporary files
	cl, err := startCluster(ctx, dir)
	if err != nil {
		return err
	}
	defer cl.stop()
	if err := cl.addDataset(ctx); err != nil {
		return err
	}
	if err := cl.addAgents(ctx, c); err != nil {
		return err
	}
	var figures []Figure
	for _, measure := range []func(context.Context, *cluster, Config) ([]Figure, error){reports, trials} {
		got, err := measure(ctx, cl, c)
		if err != nil {
			return err
		}
		for _, f := range got {
			f.Machine = fmt.Sprintf("%d cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
			fmt.Printf("%-24s %10.3f %-14s goal %s, met: %t (%s)\n", f.Name, f.Ours, f.Unit, f.Goal, f.Met, f.Setting)
			figures = append(figures, f)
		}
	}
	text, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return fmt.Errorf("encode figures: %w", err)
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fmt.Errorf("make the folder of the results: %w", err)
	}
	path := filepath.Join(c.Out, "trials-"+time.Now().Format(time.DateOnly)+".json")
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	fmt.Println("written to", path)
	return nil
}
