package analysis

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tandem.dev/storage/metric"
)

var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const second = time.Second

// sec is a time in nanoseconds since 1970.
func sec(s float64) int64 { return created.UnixNano() + int64(s*float64(second)) }

// part of a beat: one category.
func part(c metric.Category, took time.Duration) (t metric.Times) {
	t[c] = took
	return t
}

func beat(from float64, first, step int64, times metric.Times) metric.Beat {
	loss := float64(step)
	return metric.Beat{From: sec(from), Times: times, First: first, Step: step, Rows: 10 * float64(step-first), Loss: &loss}
}

func segment(member string, generation int64, rank int, beats ...metric.Beat) metric.Segment {
	return metric.Segment{Header: metric.Header{Kind: metric.Beats, Member: member, Generation: generation, Rank: rank, World: 2,
		Due: 4 * second}, Beats: beats}
}

func last(s metric.Segment) metric.Segment {
	s.Last = true
	return s
}

func (g Goodput) sum() time.Duration {
	return g.Useful + g.Redone + g.Stalled + g.Waiting + g.Starting + g.Idle
}

func TestGoodput(t *testing.T) {
	forward := func(took float64) metric.Times { return part(metric.Forward, time.Duration(took*float64(second))) }
	for name, c := range map[string]struct {
		segments []metric.Segment
		end      float64 // 0: it runs
		now      float64
		want     Goodput // in seconds
	}{
		"queued": {now: 10, want: Goodput{Idle: 10}},
		"an ordinary life": {
			segments: []metric.Segment{
				segment("a", 1, -1, beat(2, 0, 0, part(metric.Starting, 3*second))),
				last(segment("a", 1, 0,
					beat(5, 0, 0, part(metric.Waiting, second)),
					beat(6, 0, 10, metric.Times{metric.Data: second, metric.Forward: 2 * second, metric.Checkpoint: second}),
					beat(10, 10, 10, part(metric.Evaluate, 5*second)))),
			},
			end: 16, want: Goodput{Idle: 2 + 1, Starting: 3, Waiting: 1, Stalled: 2, Useful: 7},
		},
		"killed, and resumed from step 5": {
			segments: []metric.Segment{
				segment("a", 1, 0, beat(0, 0, 10, forward(10))),
				last(segment("b", 2, 0, beat(20, 5, 15, forward(10)))),
			},
			// 4 s after the last word are lost, then nothing ran; half of the second stretch is done again.
			end: 30, want: Goodput{Useful: 10 + 5, Redone: 4 + 5, Idle: 6},
		},
		"killed rank 0, told by rank 1": {
			segments: []metric.Segment{
				segment("a", 1, 0, beat(0, 0, 10, forward(10))),
				segment("b", 1, 1, beat(0, 0, 12, forward(12)), beat(12, 12, 12, part(metric.Lost, second)),
					beat(13, 12, 12, part(metric.Waiting, 2*second))),
				last(segment("b", 2, 0, beat(15, 12, 20, forward(5)))),
			},
			end: 20, want: Goodput{Useful: 17, Redone: 1, Waiting: 2},
		},
		"killed after a checkpoint that no record tells of": {
			segments: []metric.Segment{
				segment("a", 1, 0, beat(0, 0, 10, forward(10))),
				segment("b", 2, -1, beat(13, 0, 0, part(metric.Starting, second))),
				last(segment("b", 2, 0, beat(14, 12, 20, forward(8)))),
			},
			// The steps to 12 were kept; no step is done again but what came after them.
			end: 22, want: Goodput{Useful: 10 + 2 + 8, Redone: 1, Starting: 1},
		},
		"killed, and goes on no more": {
			segments: []metric.Segment{segment("a", 1, 0, beat(0, 0, 10, forward(10)))},
			end:      20, want: Goodput{Useful: 10, Redone: 4, Idle: 6},
		},
		"killed while it waited": {
			segments: []metric.Segment{
				segment("a", 1, 0, beat(0, 0, 10, forward(10)), beat(10, 10, 10, part(metric.Waiting, 2*second))),
				last(segment("b", 2, 0, beat(20, 10, 20, forward(10)))),
			},
			end: 30, want: Goodput{Useful: 20, Waiting: 2 + 4, Idle: 4},
		},
		"killed while it started": {
			segments: []metric.Segment{
				segment("a", 1, -1, beat(0, 0, 0, part(metric.Starting, 2*second))),
				segment("b", 2, -1, beat(3, 0, 0, part(metric.Starting, 2*second))),
				last(segment("b", 2, 0, beat(5, 0, 5, forward(5)))),
			},
			end: 10, want: Goodput{Useful: 5, Starting: 5},
		},
		"killed while it waited for the store": {
			segments: []metric.Segment{segment("a", 1, -1, beat(0, 0, 0, part(metric.Storage, 2*second)))},
			end:      10, want: Goodput{Stalled: 6, Idle: 4},
		},
		"a rank hung, told by rank 1": {
			segments: []metric.Segment{
				segment("a", 1, 0, beat(0, 0, 10, forward(10))),
				segment("b", 1, 1, beat(0, 0, 10, forward(10)), beat(10, 10, 10,
					metric.Times{metric.Lost: second, metric.Waiting: 5 * second})),
				last(segment("b", 2, 0, beat(16, 10, 14, forward(4)))),
			},
			end: 20, want: Goodput{Useful: 14, Redone: 1, Waiting: 5},
		},
		"a spare starts while others train": {
			segments: []metric.Segment{
				last(segment("a", 1, 0, beat(0, 0, 10, forward(10)))),
				segment("b", 2, -1, beat(3, 0, 0, part(metric.Starting, 5*second))),
			},
			end: 10, want: Goodput{Useful: 10},
		},
		"a hung rank 0 tells what nobody believes": {
			segments: []metric.Segment{
				segment("a", 1, 0, beat(0, 0, 10, forward(10)), beat(10, 10, 10, part(metric.Storage, 10*second))),
				last(segment("b", 2, 0, beat(12, 10, 20, forward(8)))),
			},
			end: 20, want: Goodput{Useful: 18, Stalled: 2},
		},
		"records lost on the way": {
			segments: []metric.Segment{
				segment("a", 1, 0, beat(0, 0, 10, forward(10))),
				last(segment("a", 1, 0, beat(60, 100, 110, forward(10)))),
			},
			end: 70, want: Goodput{Useful: 70},
		},
		"it runs": {segments: []metric.Segment{segment("a", 1, 0, beat(1, 0, 10, forward(10)))}, now: 14,
			want: Goodput{Idle: 1, Useful: 10}},
		"paused": {segments: []metric.Segment{last(segment("a", 1, 0, beat(0, 0, 10, forward(10))))}, now: 14,
			want: Goodput{Useful: 10, Idle: 4}},
		"a clock ahead": {segments: []metric.Segment{last(segment("a", 1, 0, beat(-5, 0, 10, forward(10)),
			beat(5, 10, 20, forward(10))))}, end: 10, want: Goodput{Useful: 10}},
	} {
		life := Life{Created: created, Now: created.Add(time.Duration(c.now * float64(second))), Running: true}
		if c.end > 0 {
			life.Ended = created.Add(time.Duration(c.end * float64(second)))
		}
		got := ComputeGoodput(c.segments, life)
		if got.sum() != got.Total {
			t.Errorf("%s: the parts are %s of %s", name, got.sum(), got.Total)
		}
		for _, d := range []*time.Duration{&got.Useful, &got.Redone, &got.Stalled, &got.Waiting, &got.Starting, &got.Idle} {
			*d = (*d + second/2) / second
		}
		got.Total, got.Until = 0, time.Time{}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestGoodputAddsUp: whatever members recorded, whatever was lost or overlaps, every instant of the trial is in one part.
func TestGoodputAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var segments []metric.Segment
		for m := range rapid.IntRange(0, 5).Draw(t, "members") {
			at := rapid.Int64Range(-20e9, 100e9).Draw(t, "begin") + created.UnixNano()
			step := rapid.Int64Range(0, 50).Draw(t, "resumes")
			generation := int64(m)
			for range rapid.IntRange(1, 6).Draw(t, "segments") {
				generation += rapid.Int64Range(0, 1).Draw(t, "generation")
				s := segment(fmt.Sprint(m), generation, rapid.IntRange(-1, 2).Draw(t, "rank"))
				s.Due = time.Duration(rapid.Int64Range(0, 30e9).Draw(t, "due"))
				s.Last = rapid.Bool().Draw(t, "last")
				for range rapid.IntRange(0, 4).Draw(t, "beats") {
					b := metric.Beat{From: at, First: step}
					for range rapid.IntRange(0, 4).Draw(t, "categories") {
						b.Times[rapid.IntRange(0, int(metric.Categories)-1).Draw(t, "category")] = time.Duration(rapid.Int64Range(0,
							9e9).Draw(t, "took"))
					}
					step += rapid.Int64Range(0, 9).Draw(t, "steps")
					b.Step, at = step, b.To()
					s.Beats = append(s.Beats, b)
				}
				if rapid.Bool().Draw(t, "stored") {
					segments = append(segments, s)
				}
			}
		}
		life := Life{Created: created, Now: created.Add(200 * second), Running: rapid.Bool().Draw(t, "running")}
		if rapid.Bool().Draw(t, "ended") {
			life.Ended = created.Add(time.Duration(rapid.Int64Range(0, 150e9).Draw(t, "end")))
		}
		g := ComputeGoodput(segments, life)
		if g.sum() != g.Total || !life.Created.Add(g.Total).Equal(g.Until) {
			t.Fatalf("the parts are %s of %s: %+v", g.sum(), g.Total, g)
		}
		for _, d := range []time.Duration{g.Useful, g.Redone, g.Stalled, g.Waiting, g.Starting, g.Idle} {
			if d < 0 {
				t.Fatalf("a part is negative: %+v", g)
			}
		}
		if !life.Ended.IsZero() && !g.Until.Equal(life.Ended) {
			t.Fatalf("until %s, ended %s", g.Until, life.Ended)
		}
		for _, gap := range Gaps(segments, life) {
			if gap.To <= gap.From || gap.From < created.UnixNano() || gap.To > g.Until.UnixNano() {
				t.Fatalf("gap %+v", gap)
			}
		}
	})
}

func TestGaps(t *testing.T) {
	segments := []metric.Segment{
		segment("a", 1, 0, beat(1, 0, 10, part(metric.Forward, 9*second))),
		last(segment("b", 2, 0, beat(12, 5, 15, part(metric.Forward, 8*second)))),
	}
	life := Life{Created: created, Ended: created.Add(25 * second)}
	if d := cmp.Diff([]Stretch{{sec(10), sec(12)}}, Gaps(segments, life)); d != "" {
		t.Error(d)
	}
}

func names(all []Series) map[string][]Point {
	m := map[string][]Point{}
	for _, s := range all {
		m[s.Name] = s.Points
	}
	return m
}

func TestSeries(t *testing.T) {
	step := metric.Times{metric.Data: second, metric.Forward: 3 * second}
	first := segment("a", 1, 0, beat(0, 0, 10, step), beat(4, 10, 20, step), beat(8, 20, 30, step))
	first.Evaluations = []metric.Evaluation{{Time: sec(4.5), Step: 10, Metrics: map[string]float64{"loss": 9}},
		{Time: sec(12.5), Step: 30, Metrics: map[string]float64{"loss": 7}}}
	// Back to step 20: what the first generation measured at 30 is forgotten, though the second is only at 25.
	second := segment("b", 2, 0, beat(20, 20, 20, part(metric.Starting, second)), beat(21, 20, 25, step))
	other := segment("c", 2, 1, beat(0, 0, 99, step))
	got := names(ComputeSeries([]metric.Segment{second, other, first}, []Evaluation{
		{10, sec(4), map[string]float64{"loss": 8.5}}, {20, sec(8), map[string]float64{"loss": 8}}, {30, sec(12), map[string]float64{"loss": 7}},
	}))
	if d := cmp.Diff([]Point{{10, 10, sec(4)}, {20, 20, sec(8)}, {25, 25, sec(25)}}, got["loss"]); d != "" {
		t.Errorf("loss: %s", d)
	}
	if d := cmp.Diff([]Point{{10, 9, sec(4.5)}, {20, 8, sec(8)}}, got["validation.loss"]); d != "" {
		t.Errorf("validation: %s", d)
	}
	if d := cmp.Diff([]Point{{10, 0.25, sec(4)}, {20, 0.25, sec(8)}, {25, 0.25, sec(25)}}, got["data_share"]); d != "" {
		t.Errorf("share of data: %s", d)
	}
	if p := got["samples_per_second"]; len(p) != 3 || p[0].Value != 25 {
		t.Errorf("samples a second: %v", p)
	}
	if p := got["step_seconds"]; len(p) != 3 || p[2].Value != 0.8 {
		t.Errorf("seconds a step: %v", p)
	}
	total := ComputeStepTime([]metric.Segment{second, other, first})
	want := StepTime{Steps: 35, Times: metric.Times{metric.Data: 4e9, metric.Forward: 12e9}, SamplesPerSecond: 350.0 / 16}
	if d := cmp.Diff(want, total); d != "" {
		t.Error(d)
	}
	if s := ComputeSeries(nil, []Evaluation{{5, sec(1), map[string]float64{"loss": 1}}}); len(s) != 1 || s[0].Points[0].Step != 5 {
		t.Errorf("of evaluations alone: %v", s)
	}
}

// TestSeriesRise: whatever generations there were, the steps of a series rise, and the newest generation's are all there.
func TestSeriesRise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var segments []metric.Segment
		reached, at, want := int64(0), 0.0, int64(0)
		for g := range rapid.IntRange(1, 5).Draw(t, "generations") {
			step := rapid.Int64Range(0, reached).Draw(t, "resumes")
			s := segment("m", int64(g), 0)
			for range rapid.IntRange(1, 5).Draw(t, "beats") {
				n := rapid.Int64Range(1, 9).Draw(t, "steps")
				b := beat(at, step, step+n, part(metric.Forward, second))
				value := float64(g)
				b.Loss = &value
				s.Beats = append(s.Beats, b)
				step, at = step+n, at+1
			}
			reached, want = max(reached, step), step
			segments = append(segments, s)
		}
		for _, s := range ComputeSeries(segments, nil) {
			for i, p := range s.Points {
				if i > 0 && (p.Step <= s.Points[i-1].Step || s.Name == "loss" && p.Value < s.Points[i-1].Value) {
					t.Fatalf("%s: %v", s.Name, s.Points)
				}
			}
			if s.Points[len(s.Points)-1].Step != want {
				t.Fatalf("%s ends at step %d, the trial at %d", s.Name, s.Points[len(s.Points)-1].Step, want)
			}
		}
	})
}

func TestThin(t *testing.T) {
	var points []Point
	sum := 0.0
	for i := range int64(1000) {
		points = append(points, Point{Step: i + 1, Value: float64(i), Time: i})
		sum += float64(i)
	}
	thin := Thin(points, 0, 10)
	mean := 0.0
	for _, p := range thin {
		mean += p.Value / 10
	}
	if len(thin) != 10 || thin[9].Step != 1000 || mean != sum/1000 {
		t.Errorf("%d points, mean %g: %v", len(thin), mean, thin)
	}
	if got := Thin(points, 995, 10); len(got) != 5 || got[0] != points[995] {
		t.Errorf("after step 995: %v", got)
	}
	if got := Thin(points, 1000, 10); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
}

func TestTraces(t *testing.T) {
	spans := func(rank int, steps ...int64) metric.Segment {
		s := segment(fmt.Sprint("m", rank), 3, rank)
		s.Node = fmt.Sprint("node-", rank)
		for _, n := range steps {
			s.Spans = append(s.Spans, metric.Span{Step: n, Of: metric.Backward, Begin: n*10 + 5, Length: 5}, metric.Span{Step: n, Of: metric.Forward, Begin: n * 10, Length: 5})
		}
		return s
	}
	b := spans(1, 1, 2, 3, 4)
	b.Spans = append(b.Spans, metric.Span{Step: 4, Of: metric.Checkpoint, Begin: 99}, metric.Span{Step: 9, Of: metric.Checkpoint, Begin: 100})
	traces := ComputeTraces([]metric.Segment{b, spans(0, 2, 3, 4, 5)}, 2)
	want := []RankTrace{{0, "node-0", "m0", nil}, {1, "node-1", "m1", nil}}
	for i := range want {
		for _, n := range []int64{3, 4} {
			want[i].Spans = append(want[i].Spans, metric.Span{Step: n, Of: metric.Forward, Begin: n * 10, Length: 5}, metric.Span{Step: n, Of: metric.Backward, Begin: n*10 + 5, Length: 5})
		}
	}
	want[1].Spans = append(want[1].Spans, metric.Span{Step: 4, Of: metric.Checkpoint, Begin: 99})
	if d := cmp.Diff(want, traces); d != "" {
		t.Error(d)
	}
	if got := ComputeTraces(nil, 5); len(got) != 0 {
		t.Errorf("%v of nothing", got)
	}
}
