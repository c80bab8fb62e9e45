package plausible

import (
	"fmt"
	"math"
	"testing"
	"time"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func world(t *testing.T) *state.View {
	t.Helper()
	s := state.New()
	b := s.Begin()
	b.Put(&tandemv1.Trial{Id: "trial-1", JobId: "job-1", AllocationId: "alloc-1", Generation: 3, TotalSteps: 100})
	b.Put(&tandemv1.Allocation{Id: "alloc-1", TrialId: "trial-1", Generation: 3})
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	return s.View()
}

func many(n int) map[string]float64 {
	m := map[string]float64{}
	for i := range n {
		m[fmt.Sprintf("k%d", i)] = 1
	}
	return m
}

// TestReport: what no engine can mean is refused, and what an honest one says is not, though its training diverges.
func TestReport(t *testing.T) {
	v := world(t)
	const most = math.MaxInt64
	evaluation := func(step int64, epoch float64, m map[string]float64) *tandemv1.EngineReport {
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Evaluation{Evaluation: &tandemv1.Evaluation{Step: step, Epoch: epoch, Metrics: m}}}
	}
	checkpoint := func(c *tandemv1.Checkpoint) *tandemv1.EngineReport {
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: c}}}
	}
	version := func(bytes int64, m map[string]float64) *tandemv1.EngineReport {
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Version{Version: &tandemv1.VersionSaved{Bytes: bytes, Metrics: m}}}
	}
	formed := func(step int64) *tandemv1.EngineReport {
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Formed{Formed: &tandemv1.GroupFormed{Step: step}}}
	}
	broken := func(step int64) *tandemv1.EngineReport {
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Broken{Broken: &tandemv1.GroupBroken{Step: step}}}
	}
	stopped := func(step int64) *tandemv1.EngineReport {
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{Step: step}}}
	}
	ready := func(total int64) *tandemv1.EngineReport {
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: total}}}
	}
	nan, inf := math.NaN(), math.Inf(1)
	for name, tc := range map[string]struct {
		good, bad []*tandemv1.EngineReport
	}{
		"evaluation": {
			[]*tandemv1.EngineReport{evaluation(0, 0, nil), evaluation(100, 20, map[string]float64{"loss": nan, "accuracy": 1}), evaluation(1, 0.5, map[string]float64{"loss": inf, "mse": 1e308, "mae": 2})},
			[]*tandemv1.EngineReport{
				evaluation(-1, 0, nil), evaluation(101, 0, nil), evaluation(most, 0, nil), evaluation(1, 1e308, nil), evaluation(1, nan, nil), evaluation(1, -1, nil),
				evaluation(1, 0, map[string]float64{"accuracy": nan}), evaluation(1, 0, map[string]float64{"accuracy": 1e308}), evaluation(1, 0, many(900)),
				evaluation(1, 0, map[string]float64{"a\n\x1b\"b": 1}), evaluation(1, 0, map[string]float64{"": 1}),
			},
		},
		"checkpoint": {
			[]*tandemv1.EngineReport{checkpoint(&tandemv1.Checkpoint{Step: 100, Bytes: 1, Generation: 3, Metrics: map[string]float64{"loss": 1}})},
			[]*tandemv1.EngineReport{
				checkpoint(&tandemv1.Checkpoint{Step: -1}), checkpoint(&tandemv1.Checkpoint{Step: most}), checkpoint(&tandemv1.Checkpoint{Bytes: -1}),
				checkpoint(&tandemv1.Checkpoint{Generation: most}), checkpoint(&tandemv1.Checkpoint{Metrics: map[string]float64{"loss": nan}}),
			},
		},
		"version": {
			[]*tandemv1.EngineReport{version(5, map[string]float64{"test_accuracy": 0.5, "validation_loss": 3})},
			[]*tandemv1.EngineReport{version(-1, nil), version(1, map[string]float64{"test_loss": inf}), version(1, many(40))},
		},
		"group": {
			[]*tandemv1.EngineReport{formed(0), formed(100), broken(7), stopped(7), ready(100), ready(0)},
			[]*tandemv1.EngineReport{formed(-1), formed(most), broken(-1), broken(most), stopped(-1), stopped(101), ready(-1), ready(most)},
		},
	} {
		for _, engine := range []string{"alloc-1/0", "alloc-1/7"} {
			for i, r := range tc.good {
				r.EngineId, r.Generation = engine, 3
				if why := Report(v, r); why != "" {
					t.Errorf("%s: good %d: %s", name, i, why)
				}
			}
			for i, r := range tc.bad {
				r.EngineId, r.Generation = engine, 3
				if Report(v, r) == "" {
					t.Errorf("%s: bad %d is taken: %v", name, i, r)
				}
			}
		}
	}
	for generation, good := range map[int64]bool{-1: false, 0: true, 3: true, 4: true, 5: false, most: false} {
		r := formed(1)
		r.EngineId, r.Generation = "alloc-1/0", generation
		if got := Report(v, r) == ""; got != good {
			t.Errorf("generation %d: %t", generation, got)
		}
	}
	// Of an allocation that is over only what nobody can mean is refused: the rest is the fence's.
	late := formed(1000)
	late.EngineId, late.Generation = "alloc-0/0", 9
	if why := Report(v, late); why != "" {
		t.Error(why)
	}
}

func TestProgress(t *testing.T) {
	trial := &tandemv1.Trial{TotalSteps: 100}
	for i, p := range []*tandemv1.Progress{{}, {Step: 100, TotalSteps: 100, Epoch: 3.5, Loss: math.NaN(), EtaSeconds: 5}, {Loss: math.Inf(-1)}} {
		if why := Progress(trial, p); why != "" {
			t.Errorf("good %d: %s", i, why)
		}
	}
	for i, p := range []*tandemv1.Progress{{Step: -1}, {Step: 101}, {TotalSteps: -1}, {Epoch: 1e308}, {Epoch: math.NaN()}, {SamplesPerSecond: -1}, {StepsPerSecond: math.Inf(1)}, {EtaSeconds: -1}, {Lr: math.NaN()}} {
		if Progress(trial, p) == "" {
			t.Errorf("bad %d is taken: %v", i, p)
		}
	}
}

// TestNotes: one engine cannot fill the events, and does not use up what others have.
func TestNotes(t *testing.T) {
	n, now := NewNotes(), time.Unix(1000, 0)
	made := func(engine string) (notes int) {
		for range 1000 {
			if n.Allow(engine, now) {
				notes++
			}
		}
		return notes
	}
	if a, b := made("alloc-1/0"), made("alloc-1/1"); a != noteBurst || b != noteBurst {
		t.Errorf("%d and %d notes at once", a, b)
	}
	now = now.Add(3 * time.Minute)
	if again := made("alloc-1/0"); again != 3 {
		t.Errorf("%d notes three minutes later", again)
	}
	for i := range 3 * keep {
		now = now.Add(time.Hour)
		n.Allow(fmt.Sprint(i), now)
	}
	if len(n.engines) > keep {
		t.Errorf("%d engines are kept", len(n.engines))
	}
}
