package train

import (
	"math"
	"slices"
	"sync"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/metric"
)

// RecorderConfig says whose records a Recorder takes.
type RecorderConfig struct {
	Trial  string
	Member string // the engine's name, unique within the trial
	Node   string // id of its node; may be empty
}

// Recorder takes down where the time of an engine goes, and what comes out of its steps. The
// loop feeds it; worker/metric takes what is there and stores it. All methods take the time
// as an argument, are safe for concurrent use, and do nothing on a nil Recorder. Its memory
// is bounded: what nobody takes is dropped and counted.
type Recorder struct {
	config RecorderConfig
	start  time.Time // times are counted from here by the monotonic clock

	mu       sync.Mutex
	ledger   ledger
	lately   lately
	head     metric.Header // of the group: generation, rank, world
	open     metric.Beat   // grows until the next sync
	stepped  bool          // a step was done in the open beat
	shown    metric.Times  // since the last Split
	shownAt  int64         // steps done then
	beats    metric.Segment
	runs     metric.Segment
	spans    metric.Segment
	floats   int // in runs
	window   window
	ready    []metric.Segment // of earlier groups
	seq      map[metric.Kind]int64
	lost     int64 // segments dropped
	finished bool
}

const (
	maxBeats  = 10_000  // in a segment; some are there every second, and one is taken every few
	maxFloats = 400_000 // in a segment: 3 MB
	maxSpans  = 4_000   // in a segment
	maxReady  = 100     // segments of groups that ended since the last Take
)

// NewRecorder begins with an engine that starts.
func NewRecorder(c RecorderConfig, now time.Time) *Recorder {
	r := &Recorder{config: c, start: now, ledger: newLedger(metric.Starting, now), seq: map[metric.Kind]int64{}}
	r.head = metric.Header{Trial: c.Trial, Member: c.Member, Node: c.Node, Rank: -1}
	r.begin(now)
	return r
}

// Join says that the engine is in a process group from now on.
func (r *Recorder) Join(generation int64, rank, world int, now time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger.spend(r.ledger.in, now)
	r.closeBeat(nil)
	r.seal(now, false)
	r.head.Generation, r.head.Rank, r.head.World = generation, rank, world
	r.begin(now)
}

// Enter says what the engine does from now on. Steps say it themselves.
func (r *Recorder) Enter(in metric.Category, now time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in == metric.Storage && r.ledger.in == metric.Other {
		r.ledger.in = in // so was what went before, in vain
	}
	was, from := r.ledger.in, r.ledger.mark
	r.ledger.enter(in, now)
	switch was {
	case metric.Checkpoint, metric.Evaluate, metric.Storage, metric.Waiting:
		if r.window.near(r.open.Step) {
			r.span(r.open.Step, was, from, r.ledger.mark.Sub(from))
		}
	}
	if in == metric.Waiting && r.stepped {
		r.closeBeat(nil) // no sync comes
	}
}

// Abandon says that the work since the last Step or Enter came to nothing: its step was not
// committed, and is done again or left out.
func (r *Recorder) Abandon(now time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger.spend(metric.Lost, now)
}

// Broken takes a step that was not committed, for another rank was lost. waited is how long this one
// waited for the others until that was found out, where it is known: most of a hang is not work.
func (r *Recorder) Broken(s StepTimes, waited time.Duration) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger.broken(s, r.lately.median(), waited)
}

// Stranded says that another rank was lost in a collective, beside the steps, that began at a time.
func (r *Recorder) Stranded(begin, now time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger.stranded(begin, now)
}

// Restored says that the next step follows on this one: a state was loaded.
func (r *Recorder) Restored(step int64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if step != r.open.Step {
		r.closeBeat(nil)
	}
	r.open.First, r.open.Step, r.shownAt = step, step, step
}

// Step takes a step that was committed.
func (r *Recorder) Step(s StepTimes) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Step != r.open.Step+1 { // nobody said Restored
		r.closeBeat(nil)
		r.open.First, r.shownAt = s.Step-1, s.Step-1
	}
	parts := r.ledger.step(s)
	r.lately.add(parts)
	end := r.ledger.mark
	r.open.Step, r.stepped, r.open.LR, r.open.Norm = s.Step, true, s.LR, number(s.Norm)
	if r.window.wants(s.Step, end.Sub(r.start)) {
		at := end.Add(-parts.Total())
		for _, of := range []metric.Category{metric.Data, metric.Forward, metric.Backward, metric.Communication, metric.Optimizer, metric.Other} {
			if parts[of] > 0 {
				r.span(s.Step, of, at, parts[of])
			}
			at = at.Add(parts[of])
		}
	}
	if r.head.Rank == 0 {
		r.exact(s)
	}
}

// exact keeps the figures of a step to the last bit.
func (r *Recorder) exact(s StepTimes) {
	if r.floats >= maxFloats {
		r.drop(&r.runs)
		r.floats = 0
	}
	r.floats += 2
	if n := len(r.runs.Runs); n > 0 {
		if last := &r.runs.Runs[n-1]; last.First+int64(len(last.Loss)) == s.Step {
			last.Loss, last.Norm = append(last.Loss, s.LossSum), append(last.Norm, s.Norm)
			return
		}
	}
	r.runs.Runs = append(r.runs.Runs, metric.Run{First: s.Step, Loss: metric.Floats{s.LossSum}, Norm: metric.Floats{s.Norm}})
}

// Sync takes what the ranks agreed on at a step: the loss summed over the rows of all ranks
// since the sync before.
func (r *Recorder) Sync(epoch, lossSum, rows float64) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open.Epoch, r.open.Rows = epoch, rows
	if rows > 0 {
		r.closeBeat(number(lossSum / rows))
	} else {
		r.closeBeat(nil)
	}
}

// Evaluated takes the metrics of the validation split.
func (r *Recorder) Evaluated(step int64, epoch float64, metrics map[string]float64, now time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beats.Evaluations = append(r.beats.Evaluations, metric.Evaluation{Time: r.nano(now), Step: step, Epoch: epoch, Metrics: metrics})
}

// Split returns where the time of the steps went since the last call, and how many there were.
func (r *Recorder) Split() (times metric.Times, steps int64) {
	if r == nil {
		return times, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	times = r.shown
	times.Add(r.ledger.times)
	steps = r.open.Step - r.shownAt
	// What the open beat has is not to be counted again when it closes.
	r.shown = metric.Times{}
	for c, d := range r.ledger.times {
		r.shown[c] -= d
	}
	r.shownAt = r.open.Step
	return times, steps
}

// stepTime is Split as progress shows it; nil while there is nothing.
func (r *Recorder) stepTime() *tandemv1.StepTime {
	times, steps := r.Split()
	if steps <= 0 {
		return nil
	}
	s := func(c metric.Category) float64 { return max(0, times[c]).Seconds() }
	return &tandemv1.StepTime{
		Steps: steps, Data: s(metric.Data), Forward: s(metric.Forward), Backward: s(metric.Backward), Communication: s(metric.Communication),
		Optimizer: s(metric.Optimizer), Checkpoint: s(metric.Checkpoint), Other: s(metric.Other),
	}
}

// Take returns what was recorded since the last call; the next one comes after due. With last
// the engine is at its end and nothing is recorded any more.
func (r *Recorder) Take(now time.Time, due time.Duration, last bool) []metric.Segment {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.finished {
		return nil
	}
	// Time that belongs to a step is known when the step is done; that of a wait grows.
	if between := r.ledger.in != metric.Other; last || between && !r.stepped {
		r.ledger.spend(r.ledger.in, now)
		r.closeBeat(nil)
	}
	r.seal(now, last)
	r.finished = last
	ready := r.ready
	r.ready = nil
	for i := range ready {
		ready[i].Due = due
	}
	return ready
}

// closeBeat ends the open beat; the next one follows on it.
func (r *Recorder) closeBeat(loss *float64) {
	from, times := r.ledger.cut()
	if times != (metric.Times{}) || r.stepped {
		r.open.From, r.open.Times, r.open.Loss = r.nano(from), times, loss
		r.beats.Beats = append(r.beats.Beats, r.open)
		if len(r.beats.Beats) >= maxBeats {
			r.drop(&r.beats)
		}
		r.shown.Add(times)
	}
	r.open = metric.Beat{First: r.open.Step, Step: r.open.Step, Epoch: r.open.Epoch}
	r.stepped = false
}

// seal makes segments of what there is and begins new ones.
func (r *Recorder) seal(now time.Time, last bool) {
	for _, s := range []*metric.Segment{&r.beats, &r.runs, &r.spans} {
		if n := len(s.Beats) + len(s.Evaluations) + len(s.Runs) + len(s.Spans); n == 0 && !(last && s.Kind == metric.Beats) {
			continue
		}
		if len(s.Beats) > 0 {
			s.Begin = s.Beats[0].From
		}
		s.Last, s.Lost = last && s.Kind == metric.Beats, r.lost
		s.Seq = r.seq[s.Kind]
		r.seq[s.Kind]++
		r.lost = 0
		r.ready = append(r.ready, *s)
	}
	if over := len(r.ready) - maxReady; over > 0 {
		r.ready = slices.Delete(r.ready, 0, over)
		r.lost += int64(over)
	}
	r.begin(now)
}

// begin makes empty segments of the group.
func (r *Recorder) begin(now time.Time) {
	for _, s := range []struct {
		of   *metric.Segment
		kind metric.Kind
	}{{&r.beats, metric.Beats}, {&r.runs, metric.Steps}, {&r.spans, metric.Spans}} {
		*s.of = metric.Segment{Header: r.head}
		s.of.Kind, s.of.Begin = s.kind, r.nano(now)
	}
	r.floats = 0
}

// drop forgets a segment that grew too large because nobody takes it.
func (r *Recorder) drop(s *metric.Segment) {
	s.Beats, s.Evaluations, s.Runs, s.Spans = nil, nil, nil, nil
	r.lost++
}

func (r *Recorder) span(step int64, of metric.Category, at time.Time, took time.Duration) {
	if took > 0 && len(r.spans.Spans) < maxSpans {
		r.spans.Spans = append(r.spans.Spans, metric.Span{Step: step, Of: of, Begin: r.nano(at), Length: took})
	}
}

// nano is a time in nanoseconds since 1970. A clock that is set while the engine runs changes nothing.
func (r *Recorder) nano(t time.Time) int64 { return r.start.UnixNano() + int64(t.Sub(r.start)) }

// number is a figure that can be stored; nil if it is not finite.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// window picks the steps that are traced: windowSteps in a row, at places that all ranks come
// to by themselves, about every windowEvery.
type window struct {
	last   int64         // step of the last window's end; 0: none
	opened time.Duration // when it began, since the start
	any    bool
	stride int64 // windows from the beginning of one to that of the next; a power of two
}

const (
	windowSteps = 20
	windowEvery = 5 * time.Second
)

// wants tells whether a step is traced.
func (w *window) wants(step int64, now time.Duration) bool {
	if w.any && step <= w.last && step > w.last-windowSteps {
		return true
	}
	if w.stride == 0 {
		w.stride = 1
	}
	if n := (step - 1) / windowSteps; (step-1)%windowSteps != 0 || n%w.stride != 0 {
		return false
	}
	if since := now - w.opened; w.any && since < windowEvery/2 {
		w.stride *= 2
		if (step-1)/windowSteps%w.stride != 0 {
			return false
		}
	} else if since > 2*windowEvery && w.stride > 1 {
		w.stride /= 2
	}
	w.any, w.last, w.opened = true, step+windowSteps-1, now
	return true
}

// near tells whether what follows on a step is traced with it.
func (w *window) near(step int64) bool { return w.any && step <= w.last && step > w.last-windowSteps }
