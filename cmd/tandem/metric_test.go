package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"pgregory.net/rapid"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

func trained() *tandemv1.GetMetricsResponse {
	loss := &tandemv1.Series{Name: "loss"}
	for i := range int64(40) {
		loss.Steps, loss.Values, loss.Seconds = append(loss.Steps, 10*(i+1)), append(loss.Values, 4/float64(i+1)), append(loss.Seconds, float64(i)/4)
	}
	return &tandemv1.GetMetricsResponse{
		JobId: "job-1", TrialId: "trial-1", SamplesPerSecond: 12345.4, Lost: 2,
		StepTime: &tandemv1.StepTime{Steps: 400, Data: 0.003, Forward: 0.2, Backward: 0.5, Communication: 0.1, Optimizer: 0.15, Other: 0.047},
		Goodput:  &tandemv1.Goodput{Total: 3, Useful: 1, Redone: 1, Stalled: 1},
		Series: []*tandemv1.Series{
			{Name: "lr", Steps: []int64{10, 400}, Values: []float64{0.1, 0.2}, Seconds: []float64{0, 10}}, loss,
			{Name: "validation.accuracy", Steps: []int64{400}, Values: []float64{0.91234567890123}, Seconds: []float64{10.5}},
		},
	}
}

func TestMetrics(t *testing.T) {
	f := &fake{}
	ca := newAuthority(t)
	u := newUser(t, ca.pem, ca.serve(t, f))
	f.metrics = trained()
	u.want(u.run("metrics", "digits"), exitOK, "12,345", "Where the time of a step goes (400 steps)", "data           0.007    0.3 %", "backward       1.250    50.0 %",
		"whole          2.500    100.0 %", "useful    1.0s  33.4 %", "redone    1.0s  33.3 %", "whole     3.0s  100.0 %", "validation.accuracy  400   0.91235", "2 segments")
	u.want(u.run("metrics", "digits", "--plot"), exitOK, "loss  0.1 at step 400", "┤", "validation.accuracy  0.9123 at step 400")
	if strings.Contains(u.out.String(), "lr") || !strings.Contains(u.out.String(), " 400") {
		t.Errorf("curves:\n%s", u.out.String())
	}
	u.want(u.run("metrics", "digits", "--plot", "--series", "lr"), exitOK, "lr  0.2 at step 400")
	u.want(u.run("metrics", "digits", "--series", "los"), exitNotFound, `no points of the series "los"`)
	u.want(u.run("metrics", "digits", "--points", "-1"), exitUsage, "--points")
	u.want(u.run("list", "-o", "csv"), exitUsage, "unknown output")

	u.want(u.run("metrics", "digits", "-o", "csv"), exitOK)
	rows, err := csv.NewReader(strings.NewReader(u.out.String())).ReadAll()
	if err != nil || len(rows) != 1+2+40+1 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	if d := cmp.Diff([][]string{{"series", "step", "seconds", "value"}, {"lr", "10", "0", "0.1"}}, rows[:2]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"validation.accuracy", "400", "10.5", "0.91234567890123"}, rows[len(rows)-1]); d != "" {
		t.Error(d)
	}
	u.want(u.run("metrics", "digits", "-o", "json"), exitOK)
	var back tandemv1.GetMetricsResponse
	if err := protojson.Unmarshal([]byte(u.out.String()), &back); err != nil || len(back.GetSeries()) != 3 {
		t.Errorf("%v: %s", err, u.out.String())
	}

	f.metrics = &tandemv1.GetMetricsResponse{JobId: "job-1", Goodput: &tandemv1.Goodput{Total: 5, Idle: 5}}
	u.want(u.run("metrics", "digits"), exitOK, "No steps are recorded yet", "idle      5.0s  100.0 %")
}

// TestPercents: shares add up to 100.0 %, and none is further from the truth than a tenth.
func TestPercents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1e9), 1, 12).Draw(t, "values")
		var parts []figure
		whole := 0.0
		for _, v := range values {
			parts, whole = append(parts, figure{"", v}), whole+v
		}
		shares := tenths(parts)
		if whole == 0 {
			if shares != nil {
				t.Fatalf("%v of nothing", shares)
			}
			return
		}
		sum := 0
		for i, s := range shares {
			sum += s
			if exact := 1000 * values[i] / whole; math.Abs(float64(s)-exact) > 1.001 {
				t.Fatalf("%d of %g", s, exact)
			}
		}
		if sum != 1000 || sumOf(percents(parts)) != "100.0 %" {
			t.Fatalf("%v add up to %d, %s", shares, sum, sumOf(percents(parts)))
		}
	})
}

func TestEvenly(t *testing.T) {
	got := evenly([]int64{0, 10, 20, 100}, []float64{0, 10, 0, 8}, 11)
	if d := cmp.Diff([]float64{0, 10, 0, 1, 2, 3, 4, 5, 6, 7, 8}, got); d != "" {
		t.Error(d)
	}
	if got := evenly([]int64{5, 7}, []float64{1, 2}, 3); got[0] != 1 || got[1] != 1.5 || got[2] != 2 {
		t.Error(got)
	}
}

// traced is two ranks on two nodes, whose clocks are nanoseconds since 1970.
func traced() *tandemv1.GetTraceResponse {
	const begin = 1_700_000_000_000_000_123
	res := &tandemv1.GetTraceResponse{JobId: "job-1", TrialId: "trial-1", Generation: 3}
	for rank := range int32(2) {
		r := &tandemv1.RankTrace{Rank: rank, NodeId: fmt.Sprint("node-", rank)}
		for step := range int64(20) {
			at := begin + step*1_000_000 + int64(rank)*250
			for _, of := range []string{"data", "forward", "backward", "communication", "optimizer"} {
				r.Spans = append(r.Spans, &tandemv1.TraceSpan{Step: step + 41, Of: of, Begin: at, Length: 150_001})
				at += 150_001
			}
			if step == 9 {
				r.Spans = append(r.Spans, &tandemv1.TraceSpan{Step: step + 41, Of: "checkpoint", Begin: at + 10, Length: 100_000})
			}
		}
		res.Ranks = append(res.Ranks, r)
	}
	return res
}

// TestTrace checks the file against the rules of the trace event format: complete events have a time and a duration that are not
// negative, processes and threads have names, and the events of a thread lie one in the other or one after the other.
func TestTrace(t *testing.T) {
	f := &fake{}
	ca := newAuthority(t)
	u := newUser(t, ca.pem, ca.serve(t, f))
	f.trace = traced()
	path := filepath.Join(u.dir, "t.json")
	u.want(u.run("trace", "digits", "--out", path), exitOK, "20 steps of 2 ranks (generation 3)", path, "perfetto")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TraceEvents []struct {
			Name     *string        `json:"name"`
			Phase    string         `json:"ph"`
			Time     *float64       `json:"ts"`
			Duration *float64       `json:"dur"`
			Process  *int           `json:"pid"`
			Thread   *int           `json:"tid"`
			Args     map[string]any `json:"args"`
		} `json:"traceEvents"`
		DisplayTimeUnit string `json:"displayTimeUnit"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if file.DisplayTimeUnit != "ms" && file.DisplayTimeUnit != "ns" {
		t.Errorf("displayTimeUnit %q", file.DisplayTimeUnit)
	}
	type thread struct{ process, thread int }
	open, named, counts := map[thread][]float64{}, map[string]bool{}, map[string]int{}
	last := map[thread]float64{}
	earliest := math.Inf(1)
	for _, e := range file.TraceEvents {
		if e.Name == nil || e.Process == nil || e.Thread == nil || e.Time == nil {
			t.Fatalf("an event lacks its name, place or time: %+v", e)
		}
		k := thread{*e.Process, *e.Thread}
		switch e.Phase {
		case "M":
			if name, _ := e.Args["name"].(string); name == "" {
				t.Errorf("%s of nothing", *e.Name)
			}
			named[fmt.Sprint(*e.Name, *e.Process)] = true
		case "X":
			if e.Duration == nil || *e.Duration < 0 || *e.Time < last[k] || !named[fmt.Sprint("process_name", *e.Process)] || !named[fmt.Sprint("thread_name", *e.Process)] {
				t.Fatalf("event %s at %g: %+v", *e.Name, *e.Time, e)
			}
			last[k], earliest = *e.Time, min(earliest, *e.Time)
			// Close what is over; the rest must hold this one, to the rounding of a float.
			for n := len(open[k]); n > 0 && open[k][n-1] <= *e.Time+1e-3; n = len(open[k]) {
				open[k] = open[k][:n-1]
			}
			if n := len(open[k]); n > 0 && *e.Time+*e.Duration > open[k][n-1]+1e-3 {
				t.Errorf("%s at %g is half in another", *e.Name, *e.Time)
			}
			open[k] = append(open[k], *e.Time+*e.Duration)
			name := *e.Name
			if strings.HasPrefix(name, "step ") {
				name = "step"
				if math.Abs(*e.Duration-5*150.001) > 1e-3 {
					t.Errorf("%s takes %g µs", *e.Name, *e.Duration)
				}
			}
			counts[name]++
		default:
			t.Errorf("phase %q", e.Phase)
		}
	}
	if d := cmp.Diff(map[string]int{"step": 40, "data": 40, "forward": 40, "backward": 40, "communication": 40, "optimizer": 40, "checkpoint": 2}, counts); d != "" {
		t.Error(d)
	}
	if len(last) != 2 || earliest != 0 {
		t.Errorf("%d threads, the first event is at %g", len(last), earliest)
	}

	u.want(u.run("trace", "digits", "--out", "-"), exitOK, `"traceEvents"`)
	u.want(u.run("trace", "digits", "--steps", "0"), exitUsage, "--steps")
	u.want(u.run("trace", "digits", "--out", filepath.Join(u.dir, "no", "such", "folder")), exitError, "write the trace")
	f.trace = &tandemv1.GetTraceResponse{JobId: "job-1"}
	u.want(u.run("trace", "digits"), exitError, "no traced steps yet")
}

func TestStepLine(t *testing.T) {
	line := stepLine(trained().GetStepTime())
	if want := "2.5 ms, data 0.3 %, forward 20.0 %, backward 50.0 %, communication 10.0 %, optimizer 15.0 %, other 4.7 %"; line != want {
		t.Errorf("%q, want %q", line, want)
	}
}
