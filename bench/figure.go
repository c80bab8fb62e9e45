package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Figure is one measured number, beside its peer's where there is one.
type Figure struct {
	// Name says what was measured: "throughput.mlp.2" ...
	Name string `json:"name"`
	// Unit of Ours and Peer: "samples/s", "of 2 x one rank", "s", "MB", "% of a core".
	Unit string  `json:"unit"`
	Ours float64 `json:"ours"`
	// Peer is what PeerName reached in the same run; 0 when there is no peer.
	Peer     float64 `json:"peer"`
	PeerName string  `json:"peer_name"`
	// Ratio is Ours / Peer; 0 when there is no peer.
	Ratio float64 `json:"ratio"`
	// Goal in words: "ratio >= 1.10", "< 2".
	Goal string `json:"goal"`
	Met  bool   `json:"met"`
	// Runs are the measurements behind Ours, in the order they were taken.
	Runs    []float64 `json:"runs"`
	Machine string    `json:"machine"`
	Commit  string    `json:"commit"`
}

// against compares the medians of both sides; met when the ratio reaches atLeast.
func against(name, unit string, ours, peer []float64, peerName string, atLeast float64) Figure {
	f := Figure{
		Name: name, Unit: unit, Ours: median(ours), Peer: median(peer), PeerName: peerName,
		Goal: fmt.Sprintf("ratio >= %.2f", atLeast), Runs: ours,
	}
	f.Ratio = f.Ours / f.Peer
	f.Met = f.Ratio >= atLeast
	return f
}

// below states a number that has a limit and no peer.
func below(name, unit string, ours []float64, limit float64) Figure {
	m := median(ours)
	return Figure{Name: name, Unit: unit, Ours: m, Goal: fmt.Sprintf("< %g", limit), Met: m < limit, Runs: ours}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// printTable writes the figures for people.
func printTable(w io.Writer, figures []Figure) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"figure", "unit", "ours", "peer", "", "ratio", "goal", "met"})
	for _, f := range figures {
		peer, ratio, met := "", "", "yes"
		if f.PeerName != "" {
			peer, ratio = number(f.Peer), fmt.Sprintf("%.2f", f.Ratio)
		}
		if !f.Met {
			met = "NO"
		}
		t.AppendRow(table.Row{f.Name, f.Unit, number(f.Ours), peer, f.PeerName, ratio, f.Goal, met})
	}
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 3, Align: text.AlignRight}, {Number: 4, Align: text.AlignRight}})
	t.Render()
}

func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// write keeps the figures as <dir>/<date>.json and returns the path.
func write(dir string, day time.Time, figures []Figure) (string, error) {
	text, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode figures: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the folder of the results: %w", err)
	}
	path := filepath.Join(dir, day.Format(time.DateOnly)+".json")
	return path, os.WriteFile(path, append(text, '\n'), 0o644)
}
