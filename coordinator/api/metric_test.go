package api

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/memstore"
	"tandem.dev/storage/metric"
)

// viewed is a Consensus that can only be read.
type viewed struct {
	Consensus
	state *state.State
}

func (v viewed) View(context.Context) (*state.View, error) { return v.state.View(), nil }

var trialCreated = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// metricFixture is a trial of two ranks: rank 0 was killed after 20 s, its last 4 s are told by rank 1, who goes on alone from
// step 20; the trial ended after 40 s. One object is damaged.
func metricFixture(t *testing.T) metricService {
	t.Helper()
	s := state.New()
	tx := s.Begin()
	tx.SetIndex(1)
	tx.Put(&tandemv1.Job{Id: "job-1", TrialIds: []string{"trial-1"}})
	tx.Put(&tandemv1.Trial{
		Id: "trial-1", JobId: "job-1", CreatedAt: timestamppb.New(trialCreated), FinishedAt: timestamppb.New(trialCreated.Add(40 * time.Second)),
		Evaluations: []*tandemv1.Evaluation{{Step: 16, Metrics: map[string]float64{"loss": 0.5}, Time: timestamppb.New(trialCreated.Add(16 * time.Second))}},
	})
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	store := memstore.New(memstore.Config{})
	put := func(key string, b []byte) {
		if err := store.Put(t.Context(), key, bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
	// A second of time a step, one beat and four spans a step.
	tell := func(member string, seq int64, generation int64, rank int, from, to int64, last bool) {
		head := metric.Header{
			Kind: metric.Beats, Trial: "trial-1", Member: member, Node: "node-" + member, Generation: generation, Rank: rank, World: 2,
			Seq: seq, Begin: trialCreated.Add(time.Duration(from) * time.Second).UnixNano(), Due: 5 * time.Second, Last: last, Lost: 1,
		}
		beats, spans := metric.Segment{Header: head}, metric.Segment{Header: head}
		spans.Kind, spans.Last = metric.Spans, false
		for step := from; step < to; step++ {
			at := trialCreated.Add(time.Duration(step) * time.Second).UnixNano()
			loss := float64(step + 1)
			beats.Beats = append(beats.Beats, metric.Beat{
				From: at, First: step, Step: step + 1, Rows: 64, Loss: &loss,
				Times: metric.Times{metric.Data: time.Second / 4, metric.Forward: time.Second / 4, metric.Backward: time.Second / 2},
			})
			spans.Spans = append(spans.Spans, metric.Span{Step: step + 1, Of: metric.Forward, Begin: at, Length: time.Second / 4})
		}
		for _, s := range []metric.Segment{beats, spans} {
			b, err := metric.Encode(s)
			if err != nil {
				t.Fatal(err)
			}
			put(metric.Key(s.Header), b)
		}
	}
	tell("a", 0, 1, 0, 0, 8, false)
	tell("a", 1, 1, 0, 8, 16, false)
	tell("b", 0, 1, 1, 0, 15, false)
	tell("b", 1, 1, 1, 15, 20, false)
	tell("b", 2, 2, 0, 20, 40, true)
	tell("c", 0, 2, 1, 20, 38, true)
	put(layout.Metrics("trial-1", string(metric.Beats))+"1767323045000-g1-r0-x-000000.jsonl.gz", []byte("rubbish"))
	put(layout.Metrics("trial-1", string(metric.Beats))+"notes.txt", []byte("of somebody else"))
	return metricService{&API{cfg: DefaultConfig(), deps: Deps{State: s, Consensus: viewed{state: s}, Store: func() (storage.Store, error) { return store, nil }}}}
}

func TestGetMetrics(t *testing.T) {
	a := metricFixture(t)
	res, err := a.GetMetrics(inDefault(t.Context()), connect.NewRequest(&tandemv1.GetMetricsRequest{Id: "job-1"}))
	if err != nil {
		t.Fatal(err)
	}
	m := res.Msg
	g := m.GetGoodput()
	// A quarter of each second is data; no step was done twice, and no second is missing.
	for name, got := range map[string][2]float64{
		"total": {g.GetTotal(), 40}, "useful": {g.GetUseful(), 30}, "stalled": {g.GetStalled(), 10}, "redone": {g.GetRedone(), 0},
		"idle": {g.GetIdle(), 0}, "waiting": {g.GetWaiting(), 0}, "starting": {g.GetStarting(), 0},
		"samples/s": {m.GetSamplesPerSecond(), 64}, "steps": {float64(m.GetStepTime().GetSteps()), 36}, "backward": {m.GetStepTime().GetBackward(), 18},
		"lost": {float64(m.GetLost()), 3 + 1},
	} {
		if math.Abs(got[0]-got[1]) > 1e-6 {
			t.Errorf("%s: %g, want %g", name, got[0], got[1])
		}
	}
	var names []string
	for _, s := range m.GetSeries() {
		names = append(names, s.GetName())
		if n := len(s.GetSteps()); n != len(s.GetValues()) || n != len(s.GetSeconds()) || s.GetName() == "loss" && n != 36 {
			t.Errorf("%s has %d steps, %d values, %d times", s.GetName(), n, len(s.GetValues()), len(s.GetSeconds()))
		}
	}
	for _, want := range []string{"loss", "samples_per_second", "data_share", "validation.loss"} {
		if !slices.Contains(names, want) {
			t.Errorf("no series %s in %v", want, names)
		}
	}

	res, err = a.GetMetrics(inDefault(t.Context()), connect.NewRequest(&tandemv1.GetMetricsRequest{Id: "job-1", Series: []string{"loss"}, MaxPoints: 2, SinceStep: 36}))
	if err != nil {
		t.Fatal(err)
	}
	if s := res.Msg.GetSeries(); len(s) != 1 || !slices.Equal(s[0].GetSteps(), []int64{38, 40}) || !slices.Equal(s[0].GetValues(), []float64{37.5, 39.5}) || s[0].GetSeconds()[1] != 40 {
		t.Errorf("%v", s)
	}
	for _, r := range []*tandemv1.GetMetricsRequest{{Id: "job-1", MaxPoints: -1}, {Id: "job-1", MaxPoints: maxPoints + 1}} {
		if _, err := a.GetMetrics(inDefault(t.Context()), connect.NewRequest(r)); err == nil || !strings.Contains(err.Error(), "max_points") {
			t.Errorf("%v: %v", r, err)
		}
	}
	if _, err := a.GetMetrics(inDefault(t.Context()), connect.NewRequest(&tandemv1.GetMetricsRequest{Id: "job-2"})); err == nil {
		t.Error("there is no job-2")
	}
}

func TestGetTrace(t *testing.T) {
	a := metricFixture(t)
	res, err := a.GetTrace(inDefault(t.Context()), connect.NewRequest(&tandemv1.GetTraceRequest{Id: "job-1", Steps: 3}))
	if err != nil {
		t.Fatal(err)
	}
	if res.Msg.GetGeneration() != 2 || len(res.Msg.GetRanks()) != 2 {
		t.Fatalf("%v", res.Msg)
	}
	for i, r := range res.Msg.GetRanks() {
		var steps []int64
		for _, s := range r.GetSpans() {
			steps = append(steps, s.GetStep())
			if s.GetOf() != "forward" || s.GetLength() != int64(time.Second/4) {
				t.Errorf("span %v", s)
			}
		}
		if d := cmp.Diff([]int64{36, 37, 38}, steps); d != "" || r.GetRank() != int32(i) || r.GetNodeId() != "node-"+[]string{"b", "c"}[i] {
			t.Errorf("rank %d on %s: %s", r.GetRank(), r.GetNodeId(), d)
		}
	}
	if _, err := a.GetTrace(inDefault(t.Context()), connect.NewRequest(&tandemv1.GetTraceRequest{Id: "job-1", Steps: -2})); err == nil {
		t.Error("-2 steps were traced")
	}
}
