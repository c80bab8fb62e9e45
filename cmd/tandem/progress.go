package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"tandem.dev/cmd/tandem/printable"
	"tandem.dev/proto/kind"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// reporter shows a job as it goes.
type reporter interface {
	update(w *tandemv1.WatchJobResponse)
	sweep(s *tandemv1.GetSweepResponse)
	note(text string)
	close()
}

// reporter fits where the output goes: a moving bar on a terminal, lines elsewhere. Both go to standard error when
// standard output is for a program.
func (a *app) reporter() reporter {
	if a.output == "json" || a.output == "yaml" {
		return &lines{out: a.err, every: lineEvery, now: time.Now}
	}
	if a.terminal {
		return &bar{out: a.out, columns: a.columns}
	}
	return &lines{out: a.out, every: lineEvery, now: time.Now}
}

// lineEvery is the time between two lines of progress.
const lineEvery = 2 * time.Second

// waitingForStorage is the phase of an engine that cannot go on until the store answers; people should look.
const waitingForStorage = "waiting for storage"

// headline says where a job is; it changes only when people should look.
func headline(w *tandemv1.WatchJobResponse) string {
	j := w.GetJob()
	line := plain.Word(j.GetState())
	if len(w.GetTrials()) > 0 {
		t := w.GetTrials()[len(w.GetTrials())-1]
		if kind.StageOf(t).Publishes && !final(j) {
			line += ", publishing the best checkpoint"
		}
		if p := progressOf(t, w.GetProgress()); p.GetPhase() == waitingForStorage && !final(j) {
			line += ", " + waitingForStorage
		}
		if t.GetRestarts() > 0 {
			line += ", restarted " + times(t.GetRestarts())
		}
	}
	if j.GetReason() != "" {
		line += ": " + j.GetReason()
	}
	return line
}

func times(n int32) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// current is the progress of the newest trial; nil before its engines report.
func current(w *tandemv1.WatchJobResponse) *tandemv1.Progress {
	if len(w.GetTrials()) == 0 {
		return nil
	}
	t := w.GetTrials()[len(w.GetTrials())-1]
	p := progressOf(t, w.GetProgress())
	if p == nil || p.GetTotalSteps() == 0 {
		return nil
	}
	return p
}

// figures of a moment, apart from the steps; those that matter most come first. The loss is the mean of the training since the point
// before, the metric that of the last evaluation.
func figures(w *tandemv1.WatchJobResponse, p *tandemv1.Progress) []string {
	if p.GetStep() == 0 || p.GetSamplesPerSecond() == 0 {
		return []string{"starting"} // nothing is measured yet
	}
	parts := []string{fmt.Sprintf("mean training loss %.4f", p.GetLoss())}
	t := w.GetTrials()[len(w.GetTrials())-1]
	if n := len(t.GetEvaluations()); n > 0 {
		metric := w.GetJob().GetSpec().GetMetric()
		if v, ok := t.GetEvaluations()[n-1].GetMetrics()[metric]; ok {
			parts = append(parts, fmt.Sprintf("validation %s %.4f", metric, v))
		}
	}
	if eta := p.GetEtaSeconds(); eta > 0 && !math.IsInf(eta, 0) {
		parts = append(parts, "ETA "+duration(time.Duration(eta*float64(time.Second))))
	}
	parts = append(parts, count(int64(p.GetSamplesPerSecond()))+" samples/s")
	if shares := percents(stepParts(p.GetStepTime())); p.GetStepTime().GetSteps() > 0 {
		parts = append(parts, "data "+shares[0])
	}
	return parts
}

// lines is for logs and pipes: a line when something changes, and now and then between.
type lines struct {
	out   io.Writer
	every time.Duration
	now   func() time.Time
	head  string
	step  int64
	last  time.Time

	trials string // the last line about the trials of a sweep
}

func (l *lines) line(text string) {
	fmt.Fprintf(l.out, "%s  %s\n", l.now().Format("15:04:05"), printable.Text(text))
}

func (l *lines) update(w *tandemv1.WatchJobResponse) {
	if head := headline(w); head != l.head {
		if l.head == "" {
			head, l.head = w.GetJob().GetName()+" ("+w.GetJob().GetId()+") "+head, head
		} else {
			l.head = head
		}
		l.line(head)
	}
	p := current(w)
	if p == nil || p.GetStep() == l.step || l.now().Sub(l.last) < l.every && p.GetStep() != p.GetTotalSteps() {
		return
	}
	l.last, l.step = l.now(), p.GetStep()
	l.line(fmt.Sprintf("%3d %%  step %s/%s  epoch %.1f  %s",
		100*p.GetStep()/p.GetTotalSteps(), count(p.GetStep()), count(p.GetTotalSteps()), p.GetEpoch(), strings.Join(figures(w, p), "  ")))
}

func (l *lines) note(text string) { l.line(text) }
func (l *lines) close()           {}

// bar is for a terminal: one line that moves, with what changes above it.
type bar struct {
	out     io.Writer
	columns func() int // of the terminal
	bar     *progressbar.ProgressBar
	head    string
}

// show moves the bar and says the figures before it that the terminal has room for: a line that is too long would be another one with
// each move.
func (b *bar) show(figures []string, done, of int64) {
	columns, width := b.columns(), wideBar
	if columns < wideScreen {
		width = narrowBar
	}
	if b.bar == nil {
		b.bar = newBar(b.out, of, progressbar.OptionSetWidth(width), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
	}
	if b.bar.GetMax64() != of {
		b.bar.ChangeMax64(of)
	}
	b.bar.Describe(printable.Text(fit(figures, columns-width-aroundBar-2*len(strconv.FormatInt(of, 10)))))
	_ = b.bar.Set64(done)
}

const (
	wideBar, narrowBar = 24, 8
	wideScreen         = 110 // columns from which on there is room for a wide bar
	aroundBar          = 12  // columns of what stands around it: " 33% " and " (/)", and some to spare
)

func (b *bar) update(w *tandemv1.WatchJobResponse) {
	if head := headline(w); head != b.head {
		shown := head
		if b.head == "" {
			shown = w.GetJob().GetName() + " (" + w.GetJob().GetId() + ") " + head
		}
		b.head = head
		b.note(shown)
	}
	p := current(w)
	if p == nil || final(w.GetJob()) {
		return
	}
	if b.bar == nil && p.GetStep() >= p.GetTotalSteps() {
		return // shown already
	}
	b.show(figures(w, p), p.GetStep(), p.GetTotalSteps())
	if p.GetStep() >= p.GetTotalSteps() {
		fmt.Fprintln(b.out) // the full bar stays
		b.bar = nil
	}
}

// note writes a line above the bar.
func (b *bar) note(text string) {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
	fmt.Fprintln(b.out, printable.Text(text))
	if b.bar != nil {
		_ = b.bar.RenderBlank()
	}
}

func (b *bar) close() {
	if b.bar != nil {
		_ = b.bar.Clear()
		_ = b.bar.Exit()
	}
}

func newBar(out io.Writer, total int64, more ...progressbar.Option) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, append([]progressbar.Option{
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetWidth(wideBar),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerHead: "▌", SaucerPadding: "░", BarStart: "", BarEnd: ""}),
	}, more...)...)
}

// transferBar shows bytes on their way, on a terminal only.
func (a *app) transferBar(what string, total int64) *transfer {
	t := &transfer{total: total, out: a.err}
	if a.terminal && total > 0 {
		t.bar = newBar(a.err, total, progressbar.OptionSetDescription(printable.Text(what)), progressbar.OptionShowBytes(true))
	}
	return t
}

// transfer counts bytes on their way.
type transfer struct {
	bar         *progressbar.ProgressBar // nil: nobody looks
	out         io.Writer
	done, total int64
}

// Write counts bytes that went.
func (t *transfer) Write(b []byte) (int, error) {
	t.set(t.done + int64(len(b)))
	return len(b), nil
}

// set is how many bytes went, also when some have to go again.
func (t *transfer) set(done int64) {
	t.done = done
	if t.bar != nil {
		_ = t.bar.Set64(min(done, t.total))
	}
}

// Close leaves a full bar where it is, and takes another off the screen.
func (t *transfer) Close() error {
	if t.bar == nil {
		return nil
	}
	if t.done >= t.total {
		fmt.Fprintln(t.out)
	} else {
		_ = t.bar.Clear()
	}
	err := t.bar.Exit()
	t.bar = nil
	return err
}
