package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Config says what to measure and how long.
type Config struct {
	// Runs is how often each side is measured; the sides take turns.
	Runs int
	// Seconds is how long one measurement of throughput lasts, after its warm-up.
	Seconds float64
	// Only names the groups to measure: "throughput", "cluster", "input", "checkpoint", "recovery", "accuracy", "search", "sandbox", "attack"; empty: all.
	Only []string
	// Models names the models whose throughput to measure; empty: all.
	Models []string
	// Out is the folder of the results.
	Out string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "rank" {
		exit(rankMain(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "input" {
		exit(inputMain(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "attack" {
		exit(attackMain(context.Background()))
	}
	var c Config
	only, models := "", ""
	flag.IntVar(&c.Runs, "runs", 5, "measurements of each side")
	flag.Float64Var(&c.Seconds, "seconds", 4, "seconds of one measurement of throughput")
	flag.StringVar(&only, "only", "", "groups to measure, with commas between: throughput, cluster, input, checkpoint, recovery, accuracy, search, sandbox, attack")
	flag.StringVar(&models, "models", "", "models whose throughput to measure, with commas between: mlp, resnet8, gpt")
	flag.StringVar(&c.Out, "out", "bench/results", "folder of the results")
	flag.Parse()
	if only != "" {
		c.Only = strings.Split(only, ",")
	}
	if models != "" {
		c.Models = strings.Split(models, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(measure(ctx, c))
}

// measure takes all figures, prints them and writes them down.
func measure(ctx context.Context, c Config) error {
	groups := []struct {
		name string
		run  func(context.Context, Config) ([]Figure, error)
	}{
		{"throughput", throughput},
		{"cluster", cluster},
		{"input", input},
		{"checkpoint", checkpoints},
		{"recovery", recovery},
		{"accuracy", accuracy},
		{"search", searches},
		{"sandbox", confined},
		{"attack", attacked},
	}
	var figures []Figure
	for _, g := range groups {
		if len(c.Only) > 0 && !slices.Contains(c.Only, g.name) {
			continue
		}
		got, err := g.run(ctx, c)
		if err != nil {
			return fmt.Errorf("measure %s: %w", g.name, err)
		}
		figures = append(figures, got...)
	}
	machine, commit := machine(), commit(ctx)
	for i := range figures {
		figures[i].Machine, figures[i].Commit = machine, commit
	}
	printTable(os.Stdout, figures)
	path, err := write(c.Out, time.Now(), figures)
	if err != nil {
		return err
	}
	fmt.Println("written to", path)
	return nil
}

// machine describes where the figures were taken.
func machine() string {
	model := "unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "model name\t: "); ok {
				model = strings.TrimSpace(name)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores, %s, %s/%s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH)
}

// commit names what was measured; "-dirty" when the tree has changes.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
