package train

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tandem.dev/storage/metric"
)

var begun = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }

const ms = time.Millisecond

func TestLedger(t *testing.T) {
	l := newLedger(metric.Starting, begun)
	l.enter(metric.Waiting, at(100))
	l.enter(metric.Waiting, at(90)) // a clock that goes back gives nothing to anybody
	l.enter(metric.Other, at(150))
	l.step(StepTimes{Begin: at(160), End: at(260), Data: 10 * ms, Forward: 30 * ms, Backward: 40 * ms, Communication: 5 * ms, Optimizer: 5 * ms})
	// Parts that are more than the step are cut in their order.
	l.step(StepTimes{Begin: at(260), End: at(300), Data: 10 * ms, Forward: 50 * ms, Backward: 40 * ms})
	l.enter(metric.Checkpoint, at(300))
	l.enter(metric.Other, at(320))
	// The store was away while the batch was waited for: that part of the wait is given already.
	l.enter(metric.Storage, at(330))
	l.enter(metric.Other, at(380))
	l.step(StepTimes{Begin: at(320), End: at(400), Data: 70 * ms, Forward: 10 * ms})
	l.spend(metric.Lost, at(450))
	from, times := l.cut()
	want := metric.Times{
		metric.Starting: 100 * ms, metric.Waiting: 50 * ms, metric.Other: (10 + 10 + 10) * ms, metric.Data: (10 + 10 + 10) * ms,
		metric.Forward: (30 + 30 + 10) * ms, metric.Backward: 40 * ms, metric.Communication: 5 * ms, metric.Optimizer: 5 * ms,
		metric.Checkpoint: 20 * ms, metric.Storage: 50 * ms, metric.Lost: 50 * ms,
	}
	if d := cmp.Diff(want, times); d != "" || !from.Equal(begun) {
		t.Errorf("from %s: %s", from, d)
	}
	if times.Total() != 450*ms {
		t.Errorf("%s of 450ms", times.Total())
	}
	if from, times := l.cut(); times.Total() != 0 || !from.Equal(at(450)) {
		t.Errorf("from %s: %v", from, times)
	}
}

// TestLedgerTiles: whatever is said in whatever order, what the ledger gives is all the time
// there was, once.
func TestLedgerTiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(metric.Starting, begun)
		now, latest, sum := begun, begun, time.Duration(0)
		for range rapid.IntRange(0, 50).Draw(t, "acts") {
			now = now.Add(time.Duration(rapid.Int64Range(-int64(ms), int64(time.Second)).Draw(t, "passes")))
			category := metric.Category(rapid.IntRange(0, int(metric.Categories)-1).Draw(t, "category"))
			switch rapid.IntRange(0, 5).Draw(t, "act") {
			case 0:
				l.enter(category, now)
			case 1:
				l.spend(category, now)
			case 2:
				part := func(name string) time.Duration {
					return time.Duration(rapid.Int64Range(-10, int64(time.Second)).Draw(t, name))
				}
				begin := now.Add(-max(0, part("length")))
				l.step(StepTimes{Begin: begin, End: now, Data: part("data"), Forward: part("forward"), Backward: part("backward"), Optimizer: part("optimizer")})
			case 3:
				span := func(name string) time.Duration {
					return time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, name))
				}
				l.broken(StepTimes{Begin: now.Add(-span("length")), End: now, Data: span("data")}, span("usual"), span("waited"))
			case 4:
				l.stranded(now.Add(-time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "length"))), now)
			case 5:
				from, times := l.cut()
				if !from.Equal(begun.Add(sum)) {
					t.Fatalf("from %s, want %s", from, begun.Add(sum))
				}
				sum += times.Total()
				continue
			}
			if now.After(latest) {
				latest = now
			}
			if !l.mark.Equal(latest) {
				t.Fatalf("given up to %s, it is %s", l.mark, latest)
			}
		}
		_, times := l.cut()
		for c, d := range times {
			if d < 0 {
				t.Fatalf("%s: %s", metric.Category(c), d)
			}
		}
		if got := sum + times.Total(); !begun.Add(got).Equal(l.mark) {
			t.Fatalf("%s given of %s", got, l.mark.Sub(begun))
		}
	})
}

// TestBrokenStep: of a step in which another rank was lost no more is work to be done again than a step takes.
func TestBrokenStep(t *testing.T) {
	for name, c := range map[string]struct {
		steps  int // of 10 ms, 1 of them for the data, before it
		data   time.Duration
		took   int           // ms; after the data
		waited time.Duration // as the deadline says
		want   metric.Times
	}{
		"a hang, found by this rank":            {20, 0, 5008, 5000 * ms, metric.Times{metric.Lost: 8 * ms, metric.Waiting: 5000 * ms}},
		"a hang, found by another":              {20, 0, 5008, 0, metric.Times{metric.Lost: 9 * ms, metric.Waiting: 4999 * ms}},
		"a hang in the first step":              {0, 0, 30_800, 30_000 * ms, metric.Times{metric.Lost: 800 * ms, metric.Waiting: 30_000 * ms}},
		"a kill, seen at once":                  {20, 0, 6, 0, metric.Times{metric.Lost: 6 * ms}},
		"a kill in the first step":              {0, 0, 600, 0, metric.Times{metric.Lost: 600 * ms}},
		"a batch was waited for before":         {20, 70 * ms, 100, 0, metric.Times{metric.Data: 70 * ms, metric.Lost: 9 * ms, metric.Waiting: 91 * ms}},
		"a rank computes longer than it waited": {20, 0, 5030, 5000 * ms, metric.Times{metric.Lost: 9 * ms, metric.Waiting: 5021 * ms}},
	} {
		r := recorder()
		r.Join(1, 0, 2, begun)
		r.Enter(metric.Other, begun)
		for n := range c.steps {
			step(r, int64(n+1), 10*(n+1))
		}
		r.Sync(0, 1, 1)
		begin := at(10 * c.steps)
		end := begin.Add(c.data + time.Duration(c.took)*ms)
		r.Broken(StepTimes{Begin: begin, End: end, Data: c.data}, c.waited)
		r.Enter(metric.Waiting, end)
		var times metric.Times
		for _, s := range r.Take(end, time.Second, true) {
			for _, b := range s.Beats {
				if b.Step == b.First {
					times.Add(b.Times)
				}
			}
		}
		if d := cmp.Diff(c.want, times); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestStranded: a rank that is lost while the others agree is waited for, and an evaluation it was lost in is done again.
func TestStranded(t *testing.T) {
	for in, want := range map[metric.Category]metric.Times{
		metric.Communication: {metric.Communication: 2 * ms, metric.Waiting: 5000 * ms},
		metric.Evaluate:      {metric.Lost: 2 * ms, metric.Waiting: 5000 * ms},
		metric.Checkpoint:    {metric.Checkpoint: 2 * ms, metric.Waiting: 5000 * ms},
	} {
		l := newLedger(in, begun)
		l.stranded(at(2), at(5002))
		if _, times := l.cut(); times != want {
			t.Errorf("%s: %v", in, times)
		}
	}
}

func recorder() *Recorder {
	return NewRecorder(RecorderConfig{Trial: "trial-1", Member: "alloc-1/0", Node: "node-1"}, begun)
}

// step records one that took 10 ms up to a time.
func step(r *Recorder, n int64, end int) {
	r.Step(StepTimes{Step: n, Begin: at(end - 10), End: at(end), Data: ms, Forward: 2 * ms, Backward: 4 * ms, Optimizer: ms, LossSum: float64(n) / 3, Norm: 1 / float64(n), LR: 0.1})
}

func ptr(v float64) *float64 { return &v }

func TestRecorder(t *testing.T) {
	r := recorder()
	r.Join(3, 0, 2, at(100))
	r.Restored(7)
	r.Enter(metric.Waiting, at(100))
	r.Enter(metric.Other, at(200))
	step(r, 8, 210)
	step(r, 9, 220)
	r.Sync(0.5, 30, 60)
	r.Enter(metric.Evaluate, at(220))
	r.Evaluated(9, 0.5, map[string]float64{"loss": 2}, at(240))
	r.Enter(metric.Checkpoint, at(240))
	r.Enter(metric.Other, at(245))
	step(r, 10, 255)
	if got := r.Take(at(256), time.Second, false); len(got) != 3 {
		t.Fatalf("%d segments, want 2 of this group and 1 of before", len(got))
	} else {
		check(t, got)
	}
	step(r, 11, 270)
	r.Enter(metric.Waiting, at(275)) // the group broke: no sync comes
	r.Abandon(at(275))
	// The state goes back, and steps come again.
	r.Join(4, 1, 3, at(300))
	r.Restored(9)
	r.Enter(metric.Other, at(300))
	step(r, 10, 310)
	last := r.Take(at(320), time.Second, true)
	var beats []metric.Beat
	for _, s := range last {
		if s.Kind == metric.Beats {
			beats = append(beats, s.Beats...)
		}
		if s.Kind == metric.Steps && s.Generation == 4 {
			t.Error("rank 1 stores the figures of rank 0")
		}
		if s.Last != (s.Kind == metric.Beats && s.Generation == 4) {
			t.Errorf("%s of generation %d: last %v", s.Kind, s.Generation, s.Last)
		}
	}
	end := at(220).UnixNano()
	steps := [][2]int64{{9, 11}, {11, 11}, {9, 10}}
	for i, b := range beats {
		if b.From != end {
			t.Errorf("beat %d begins %d ns after the end of the one before", i, b.From-end)
		}
		end = b.To()
		if i < len(steps) && (b.First != steps[i][0] || b.Step != steps[i][1]) {
			t.Errorf("beat %d: steps %d to %d", i, b.First, b.Step)
		}
	}
	if len(beats) != len(steps) || end != at(320).UnixNano() {
		t.Errorf("%d beats, the last ends %d ns before the end", len(beats), at(320).UnixNano()-end)
	}
	if r.Take(at(400), time.Second, true) != nil {
		t.Error("there is more after the end")
	}
}

// check looks at the first segments of TestRecorder.
func check(t *testing.T, got []metric.Segment) {
	t.Helper()
	head := metric.Header{Trial: "trial-1", Member: "alloc-1/0", Node: "node-1", Kind: metric.Beats, Rank: -1, Begin: begun.UnixNano(), Due: time.Second}
	want := []metric.Segment{{Header: head, Beats: []metric.Beat{{From: begun.UnixNano(), Times: metric.Times{metric.Starting: 100 * ms}}}}}
	head.Generation, head.Rank, head.World, head.Seq, head.Begin = 3, 0, 2, 1, at(100).UnixNano()
	want = append(want, metric.Segment{
		Header: head,
		Beats: []metric.Beat{{
			From: at(100).UnixNano(), First: 7, Step: 9, Epoch: 0.5, Rows: 60, Loss: ptr(0.5), LR: 0.1, Norm: ptr(1.0 / 9),
			Times: metric.Times{metric.Waiting: 100 * ms, metric.Data: 2 * ms, metric.Forward: 4 * ms, metric.Backward: 8 * ms, metric.Optimizer: 2 * ms, metric.Other: 4 * ms},
		}},
		Evaluations: []metric.Evaluation{{Time: at(240).UnixNano(), Step: 9, Epoch: 0.5, Metrics: map[string]float64{"loss": 2}}},
	})
	head.Kind, head.Seq = metric.Steps, 0
	third := func(n float64) float64 { return n / 3 }
	want = append(want, metric.Segment{Header: head, Runs: []metric.Run{{First: 8, Loss: metric.Floats{third(8), third(9), third(10)}, Norm: metric.Floats{1.0 / 8, 1.0 / 9, 1.0 / 10}}}})
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestRecorderTraces: ranks whose clocks and speeds differ a little trace the same steps.
func TestRecorderTraces(t *testing.T) {
	traced := func(took time.Duration, later time.Duration) map[int64]map[metric.Category]bool {
		r := recorder()
		r.Join(1, 0, 1, begun)
		now := begun.Add(later)
		steps := map[int64]map[metric.Category]bool{}
		for n := int64(1); n <= 20_000; n++ {
			r.Step(StepTimes{Step: n, Begin: now, End: now.Add(took), Forward: took / 2, Backward: took / 2})
			now = now.Add(took)
			if n%100 == 0 {
				r.Enter(metric.Checkpoint, now)
				now = now.Add(ms)
				r.Enter(metric.Other, now)
			}
			if n%1000 == 0 || n == 20_000 {
				for _, s := range r.Take(now, time.Second, n == 20_000) {
					for _, p := range s.Spans {
						if steps[p.Step] == nil {
							steps[p.Step] = map[metric.Category]bool{}
						}
						steps[p.Step][p.Of] = true
					}
				}
			}
		}
		return steps
	}
	a, b := traced(2*ms, 0), traced(2*ms+ms/50, 3*time.Second)
	both := 0
	for step, of := range a {
		if !of[metric.Forward] || !of[metric.Backward] || of[metric.Data] || of[metric.Checkpoint] != (step%100 == 0) {
			t.Fatalf("step %d: %v", step, of)
		}
		if b[step] != nil {
			both++
		}
	}
	// 40 s: a window of 20 steps about every 5.
	if len(a) < 6*20 || len(a) > 25*20 || len(a)%20 != 0 {
		t.Errorf("%d steps are traced", len(a))
	}
	if both < len(a)*3/4 {
		t.Errorf("%d of %d steps are traced on both ranks", both, len(a))
	}
}

// TestRecorderIsBounded: who records for hours with nobody to take it keeps a few megabytes,
// and says that something is missing.
func TestRecorderIsBounded(t *testing.T) {
	r := recorder()
	r.Join(1, 0, 1, begun)
	for n := int64(1); n <= 1_000_000; n++ {
		now := begun.Add(time.Duration(n) * ms)
		r.Step(StepTimes{Step: n, Begin: now, End: now.Add(ms)})
		if n%10 == 0 {
			r.Sync(0, 1, 1)
		}
	}
	for generation := range int64(500) {
		r.Join(2+generation, 0, 1, begun.Add(time.Hour+time.Duration(generation)*time.Second))
	}
	beats, floats, spans, lost := 0, 0, 0, int64(0)
	all := r.Take(begun.Add(2*time.Hour), time.Second, true)
	for _, s := range all {
		beats, spans, lost = beats+len(s.Beats), spans+len(s.Spans), lost+s.Lost
		for _, run := range s.Runs {
			floats += len(run.Loss) + len(run.Norm)
		}
	}
	if beats > maxBeats+maxReady || floats > maxFloats+2 || spans > maxSpans || len(all) > maxReady+3 || lost == 0 {
		t.Errorf("%d segments, %d beats, %d figures, %d spans, %d lost", len(all), beats, floats, spans, lost)
	}
}

func TestRecorderSplit(t *testing.T) {
	r := recorder()
	r.Join(1, 0, 1, begun)
	r.Enter(metric.Other, begun)
	step(r, 1, 10)
	r.Sync(0, 1, 1)
	step(r, 2, 20) // in the open beat
	sum := func(steps int64, data, forward time.Duration) {
		t.Helper()
		times, n := r.Split()
		if n != steps || times[metric.Data] != data || times[metric.Forward] != forward {
			t.Errorf("%d steps, data %s, forward %s", n, times[metric.Data], times[metric.Forward])
		}
	}
	sum(2, 2*ms, 4*ms)
	sum(0, 0, 0)
	step(r, 3, 30)
	r.Sync(0, 1, 1)
	sum(1, ms, 2*ms)
}

// TestRecorderNil: a loop without a recorder calls the same methods.
func TestRecorderNil(t *testing.T) {
	var r *Recorder
	r.Join(1, 0, 1, begun)
	r.Enter(metric.Waiting, begun)
	r.Abandon(begun)
	r.Broken(StepTimes{}, 0)
	r.Stranded(begun, begun)
	r.Restored(3)
	step(r, 1, 10)
	r.Sync(0, math.NaN(), 1)
	r.Evaluated(1, 0, nil, begun)
	if _, n := r.Split(); n != 0 || r.Take(begun, 0, true) != nil {
		t.Error("a nil recorder has records")
	}
}
