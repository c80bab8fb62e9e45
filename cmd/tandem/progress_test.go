package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// course is a job from start to end, with a restart in the middle.
func course() []*tandemv1.WatchJobResponse {
	at := func(state tandemv1.JobState, reason string, generation int64, step int64, restarts int32) *tandemv1.WatchJobResponse {
		w := &tandemv1.WatchJobResponse{
			Job:    &tandemv1.Job{Id: "job-1", Name: "digits", State: state, Reason: reason, Spec: &tandemv1.JobSpec{Metric: "accuracy"}},
			Trials: []*tandemv1.Trial{{Id: "t", Generation: generation, Restarts: restarts}},
		}
		if generation > 0 {
			w.Progress = []*tandemv1.Progress{{
				TrialId: "t", Generation: generation, Step: step, TotalSteps: 2000, Epoch: float64(step) / 1000,
				Loss: 0.25, SamplesPerSecond: 1500, EtaSeconds: float64(2000-step) / 100,
			}}
		}
		return w
	}
	const pending, running, done = tandemv1.JobState_JOB_STATE_PENDING, tandemv1.JobState_JOB_STATE_RUNNING, tandemv1.JobState_JOB_STATE_COMPLETED
	stale := at(running, "Runs.", 2, 1500, 1)
	stale.Progress[0].Generation = 1 // of the generation before
	return []*tandemv1.WatchJobResponse{
		at(pending, "wants 2 slots", 0, 0, 0), at(running, "Runs.", 1, 0, 0), at(running, "Runs.", 1, 500, 0), at(running, "Runs.", 1, 600, 0),
		at(pending, "Rank 0 died.", 0, 0, 1), stale, at(running, "Runs.", 2, 1000, 1), at(running, "Runs.", 2, 2000, 1), at(done, "", 2, 2000, 1),
	}
}

func TestLines(t *testing.T) {
	var out strings.Builder
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	l := &lines{out: &out, every: 2 * time.Second, now: func() time.Time { return now }}
	for _, w := range course() {
		l.update(w)
		now = now.Add(time.Second)
	}
	want := `12:00:00  digits (job-1) pending: wants 2 slots
12:00:01  running: Runs.
12:00:02   25 %  step 500/2,000  epoch 0.5  mean training loss 0.2500  ETA 15s  1,500 samples/s
12:00:04  pending, restarted once: Rank 0 died.
12:00:05  running, restarted once: Runs.
12:00:06   50 %  step 1,000/2,000  epoch 1.0  mean training loss 0.2500  ETA 10s  1,500 samples/s
12:00:07  100 %  step 2,000/2,000  epoch 2.0  mean training loss 0.2500  1,500 samples/s
12:00:08  completed, restarted once
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestBar(t *testing.T) {
	var out strings.Builder
	b := &bar{out: &out, columns: func() int { return usualColumns }}
	for _, w := range course() {
		b.update(w)
	}
	b.close()
	for _, text := range []string{"digits (job-1) pending: wants 2 slots\n", "starting", "(0/2000)", "(2000/2000)", "100%", "completed, restarted once\n"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is not in %q", text, out.String())
		}
	}
}

// TestBarFitsTheTerminal: a line of progress, at its longest, has room on terminals of all widths, and says as much as there is room for.
func TestBarFitsTheTerminal(t *testing.T) {
	w := course()[3]
	w.Progress[0].TotalSteps, w.Progress[0].Step, w.Progress[0].Loss = 1_234_567, 1_234_566, 61234.5678
	w.Progress[0].StepTime = &tandemv1.StepTime{Steps: 10, Data: 0.5, Forward: 0.5}
	w.Trials[0].Evaluations = []*tandemv1.Evaluation{{Metrics: map[string]float64{"accuracy": 0.9715}}}
	for columns, want := range map[int][]string{
		60: {"mean training loss"}, 80: {"mean training loss"}, 100: {"mean training loss", "validation accuracy 0.9715"},
		150: {"mean training loss", "validation accuracy 0.9715", "ETA", "samples/s"},
	} {
		var out strings.Builder
		b := &bar{out: &out, columns: func() int { return columns }}
		b.update(w)
		for line := range strings.SplitSeq(strings.ReplaceAll(out.String(), "\r", "\n"), "\n") {
			if n := utf8.RuneCountInString(line); n >= columns {
				t.Errorf("%d columns: a line of %d: %q", columns, n, line)
			}
		}
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%d columns: %q is not in %q", columns, text, out.String())
			}
		}
	}
}

func TestDraw(t *testing.T) {
	want := "  ░░▒▒\n▓▓████\n"
	if diff := cmp.Diff(want, draw([]float32{0, 4, 8, 12, 16, 16}, 3)); diff != "" {
		t.Error(diff)
	}
	if got := draw([]float32{3, 3}, 1); got != "  \n  \n" {
		t.Errorf("%q", got)
	}
}

func TestFormats(t *testing.T) {
	for _, c := range [][2]string{
		{count(1234567), "1,234,567"}, {count(-1234), "-1,234"}, {count(12), "12"}, {count(-123), "-123"},
		{size(100), "100 B"}, {size(1536), "1.5 KiB"}, {duration(1500 * time.Millisecond), "1.5s"}, {duration(61 * time.Minute), "1h01m"},
		{short("größer", 4), "grö…"}, {short("a\nb", 4), "a"}, {several(1, "slot"), "1 slot"}, {several(2, "slot"), "2 slots"},
	} {
		if c[0] != c[1] {
			t.Errorf("%q instead of %q", c[0], c[1])
		}
	}
}

// TestTransferBar: a transfer that is done is seen to be done, also when a part of it had to go twice.
func TestTransferBar(t *testing.T) {
	var b strings.Builder
	a := &app{err: &b, terminal: true}
	bar := a.transferBar("Uploading", 1000)
	for range 2 { // the second time after a coordinator was lost
		bar.set(0)
		for range 9 {
			if _, err := bar.Write(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if strings.Contains(b.String(), "100%") {
		t.Errorf("done too early: %q", b.String())
	}
	if _, err := bar.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := bar.Close(); err != nil {
			t.Fatal(err)
		}
	}
	last := b.String()[strings.LastIndexByte(b.String(), '\r'):]
	if !strings.Contains(last, "100%") || strings.Count(b.String(), "\n") != 1 || !strings.HasSuffix(last, "\n") {
		t.Errorf("it ends with %q", last)
	}
	b.Reset()
	bar = a.transferBar("Uploading", 1000)
	_, _ = bar.Write(make([]byte, 500))
	if err := bar.Close(); err != nil || strings.Contains(b.String(), "\n") {
		t.Errorf("%v; what was not done stays on the screen: %q", err, b.String())
	}
	b.Reset()
	a.terminal = false
	bar = a.transferBar("Uploading", 1000)
	_, _ = bar.Write(make([]byte, 1000))
	if err := bar.Close(); err != nil || b.Len() > 0 {
		t.Errorf("%v, %q where there is no terminal", err, b.String())
	}
}

// TestBarOfASHA: trials that wait at a rung have been tried; those that want slots are told apart from them.
func TestBarOfASHA(t *testing.T) {
	var out strings.Builder
	b := &bar{out: &out, columns: func() int { return 120 }}
	s := &tandemv1.GetSweepResponse{
		Job:   &tandemv1.Job{State: tandemv1.JobState_JOB_STATE_RUNNING, Spec: &tandemv1.JobSpec{}},
		Sweep: &tandemv1.Sweep{MaxTrials: 64, Trials: map[string]int32{"completed": 1, "paused": 47, "running": 2, "pending": 3}},
	}
	b.sweep(s)
	if tried := b.bar.State().CurrentNum; tried != 48 || !strings.Contains(out.String(), "2 running  3 waiting  47 paused") {
		t.Errorf("%d trials are tried: %q", tried, out.String())
	}
	l := &lines{out: &out, now: time.Now}
	l.sweep(s)
	if !strings.Contains(out.String(), "trials 1/64 done") {
		t.Errorf("%q", out.String())
	}
}
