package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) traceCommand() *cobra.Command {
	req := &tandemv1.GetTraceRequest{}
	var out string
	cmd := &cobra.Command{
		Use:   "trace JOB",
		Short: "Write what each rank did in the last traced steps, for Perfetto or chrome://tracing",
		Long: `Write what each rank did in the last steps that were traced on all of them, in Chrome's trace event format: open the file in
https://ui.perfetto.dev or chrome://tracing. Engines trace 20 steps in a row every few seconds. Each node is a process there and each
rank a thread; ranks of different nodes are as well aligned as the nodes' clocks.`,
		Example:           `  tandem trace digits --steps 20 --out digits.json`,
		Args:              want("JOB"),
		ValidArgsFunction: a.complete(jobNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			var err error
			if req.Id, err = a.jobID(ctx, c, args[0]); err != nil {
				return err
			}
			res, err := c.Metrics.GetTrace(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			return a.writeTrace(res.Msg, nodeNamesByID(ctx, c), out)
		}),
	}
	quantity.Flag(cmd.Flags(), &req.Steps, "steps", 20, 1, 1000, "at most this many steps")
	cmd.Flags().StringVar(&out, "out", "", "file to write, - for standard output; by default JOB.trace.json, with the job's id")
	return cmd
}

func (a *app) writeTrace(m *tandemv1.GetTraceResponse, nodes map[string]string, path string) error {
	if len(m.GetRanks()) == 0 {
		return fmt.Errorf("job %s has no traced steps yet: engines trace the first 20 steps and then some every few seconds", m.GetJobId())
	}
	file, steps := chromeTrace(m, nodes)
	b, err := json.Marshal(file)
	if err != nil {
		return fmt.Errorf("encode the trace: %w", err)
	}
	b = append(b, '\n')
	if path == "-" {
		_, err := a.out.Write(escaped(b, jsonEscape))
		return err
	}
	path = cmp.Or(path, m.GetJobId()+".trace.json")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return fmt.Errorf("write the trace: %w", err)
	}
	return a.showValue(map[string]any{"file": path, "steps": steps, "ranks": len(m.GetRanks()), "generation": m.GetGeneration()},
		text(fmt.Sprintf("%s of %s (generation %d) are in %s; open it in https://ui.perfetto.dev or chrome://tracing",
			several(steps, "step"), several(len(m.GetRanks()), "rank"), m.GetGeneration(), path)))
}

// traceFile is Chrome's trace event format, as far as it is used here.
type traceFile struct {
	TraceEvents     []traceEvent      `json:"traceEvents"`
	DisplayTimeUnit string            `json:"displayTimeUnit"`
	OtherData       map[string]string `json:"otherData"`
}

// traceEvent is a complete event (ph X) or a name (ph M). Times are in microseconds.
type traceEvent struct {
	Name     string         `json:"name"`
	Category string         `json:"cat,omitempty"`
	Phase    string         `json:"ph"`
	Time     float64        `json:"ts"`
	Duration *float64       `json:"dur,omitempty"`
	Process  int            `json:"pid"`
	Thread   int            `json:"tid"`
	Args     map[string]any `json:"args,omitempty"`
}

// chromeTrace puts the ranks into a file: a process for each node, a thread for each rank, a slice for each step with its parts in
// it. Time begins with the first span. It also counts the steps.
func chromeTrace(m *tandemv1.GetTraceResponse, nodes map[string]string) (traceFile, int) {
	f := traceFile{
		DisplayTimeUnit: "ms",
		OtherData:       map[string]string{"job": m.GetJobId(), "trial": m.GetTrialId(), "generation": number(m.GetGeneration())},
	}
	var ids []string
	begin, some := int64(0), false
	for _, r := range m.GetRanks() {
		if !slices.Contains(ids, r.GetNodeId()) {
			ids = append(ids, r.GetNodeId())
		}
		for _, s := range r.GetSpans() {
			if !some || s.GetBegin() < begin {
				begin, some = s.GetBegin(), true
			}
		}
	}
	for i, id := range ids {
		f.TraceEvents = append(f.TraceEvents, named("process_name", i+1, 0, "node "+cmp.Or(nodes[id], id)))
	}
	steps := map[int64]bool{}
	for _, r := range m.GetRanks() {
		process, thread := slices.Index(ids, r.GetNodeId())+1, int(r.GetRank())+1
		f.TraceEvents = append(f.TraceEvents, named("thread_name", process, thread, fmt.Sprintf("rank %d", r.GetRank())))
		var events []traceEvent
		for _, whole := range wholeSteps(r.GetSpans()) {
			steps[whole.GetStep()] = true
			events = append(events, slice(fmt.Sprintf("step %d", whole.GetStep()), "step", whole, begin, process, thread))
		}
		for _, s := range r.GetSpans() {
			events = append(events, slice(s.GetOf(), "part", s, begin, process, thread))
		}
		// What encloses others comes before them.
		slices.SortStableFunc(events, func(a, b traceEvent) int {
			return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(*b.Duration, *a.Duration))
		})
		f.TraceEvents = append(f.TraceEvents, events...)
	}
	return f, len(steps)
}

func named(what string, process, thread int, name string) traceEvent {
	return traceEvent{Name: what, Phase: "M", Process: process, Thread: thread, Args: map[string]any{"name": name}}
}

func slice(name, category string, s *tandemv1.TraceSpan, begin int64, process, thread int) traceEvent {
	took := float64(s.GetLength()) / 1e3
	return traceEvent{
		Name: name, Category: category, Phase: "X", Time: float64(s.GetBegin()-begin) / 1e3, Duration: &took,
		Process: process, Thread: thread, Args: map[string]any{"step": s.GetStep()},
	}
}

// besideSteps is what happens between two steps.
var besideSteps = []string{"checkpoint", "evaluate", "storage", "waiting"}

// wholeSteps are the steps that the spans are parts of.
func wholeSteps(spans []*tandemv1.TraceSpan) []*tandemv1.TraceSpan {
	var all []*tandemv1.TraceSpan
	for _, s := range spans {
		if slices.Contains(besideSteps, s.GetOf()) {
			continue
		}
		end := s.GetBegin() + s.GetLength()
		if n := len(all); n > 0 && all[n-1].GetStep() == s.GetStep() {
			all[n-1].Length = max(all[n-1].GetLength(), end-all[n-1].GetBegin())
			continue
		}
		all = append(all, &tandemv1.TraceSpan{Step: s.GetStep(), Begin: s.GetBegin(), Length: s.GetLength()})
	}
	return all
}
