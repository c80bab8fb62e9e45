package e2e

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"tandem.dev/coordinator/spec"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

const ashaSweep = `
name: asha
kind: sweep
dataset: digits
model: {mlp: {hidden: [16]}}
training: {batch: 96, epochs: 9}
publish: {model: asha, aliases: [champion]}
search:
  space:
    training.optimizer.lr: {log: [1e-4, 1e-1]}
    model.mlp.hidden: {choice: [[8], [32], [64]]}
  method: {name: asha, divisor: 3, rungs: 3}
  max_trials: 24
  max_concurrent_trials: 4
  seed: 5
`

const pbtSweep = `
name: pbt
kind: sweep
dataset: digits
model: {mlp: {hidden: [16]}}
training: {batch: 96, epochs: 6, optimizer: {name: adamw}}
publish: {model: pbt}
search:
  space:
    training.optimizer.lr: {log: [1e-4, 1e-1]}
  method: {name: pbt, population: 4, intervals: 3, quantile: 0.5}
  max_trials: 8
  max_concurrent_trials: 2
`

// searched is all that is known of a sweep that has ended.
type searched struct {
	*tandemv1.GetSweepResponse
	trials []*tandemv1.Trial
	events []*tandemv1.SweepEvent
}

// sweep gets a sweep; nil while nobody answers.
func (c *cluster) sweep(id string) *tandemv1.GetSweepResponse {
	res, err := c.api.Sweeps.GetSweep(c.t.Context(), connect.NewRequest(&tandemv1.GetSweepRequest{Id: id}))
	if err != nil {
		return nil
	}
	return res.Msg
}

// made waits until a sweep has made so many trials.
func (c *cluster) made(id string, n int32) {
	c.t.Helper()
	eventually(c.t, 3*time.Minute, "the sweep makes trials", func() bool { return c.sweep(id).GetSweep().GetMade() >= n })
}

// searched waits for the end of a sweep through the CLI, and reads it page by page.
func (c *cluster) searched(id string) searched {
	c.t.Helper()
	eventually(c.t, 4*time.Minute, "the sweep ends", func() bool { return c.sweep(id).GetJob().GetFinishedAt() != nil })
	c.run(0, "wait", id)
	s := searched{GetSweepResponse: c.sweep(id)}
	for after := int32(0); ; after = s.trials[len(s.trials)-1].GetNumber() {
		res, err := c.api.Sweeps.ListTrials(c.t.Context(), connect.NewRequest(&tandemv1.ListTrialsRequest{Id: id, After: after, Limit: 7}))
		if err != nil {
			c.t.Fatal(err)
		}
		if s.trials = append(s.trials, res.Msg.GetTrials()...); len(res.Msg.GetTrials()) == 0 {
			break
		}
	}
	for after := int64(0); ; after = s.events[len(s.events)-1].GetSeq() {
		res, err := c.api.Sweeps.ListSweepEvents(c.t.Context(), connect.NewRequest(&tandemv1.ListSweepEventsRequest{Id: id, After: after, Limit: 7}))
		if err != nil {
			c.t.Fatal(err)
		}
		if s.events = append(s.events, res.Msg.GetEvents()...); len(res.Msg.GetEvents()) == 0 {
			break
		}
	}
	return s
}

// once checks that every evaluation of every trial is one event, and that no event is there without one.
func (s searched) once(t *testing.T) {
	t.Helper()
	measured := map[int64]*tandemv1.TrialMeasured{}
	type place struct {
		trial int32
		share float64
	}
	seen := map[place]bool{}
	for i, e := range s.events {
		if e.GetSeq() != int64(i)+1 {
			t.Fatalf("event %d has the number %d", i+1, e.GetSeq())
		}
		if m := e.GetMeasured(); m != nil {
			if at := (place{m.GetTrial(), m.GetShare()}); seen[at] {
				t.Errorf("trial %d was measured at %v twice", m.GetTrial(), m.GetShare())
			} else {
				seen[at] = true
			}
			measured[e.GetSeq()] = m
		}
	}
	if s.GetSweep().GetEventSeq() != int64(len(s.events)) || s.GetSweep().GetDecidedSeq() > s.GetSweep().GetEventSeq() {
		t.Errorf("%d events; the sweep says %d, decided %d", len(s.events), s.GetSweep().GetEventSeq(), s.GetSweep().GetDecidedSeq())
	}
	for _, trial := range s.trials {
		for _, e := range trial.GetEvaluations() {
			m := measured[e.GetSeq()]
			share := float64(e.GetStep()) / float64(trial.GetTotalSteps())
			if m.GetTrial() != trial.GetNumber() || m.GetShare() != share || m.GetValue() != e.GetMetrics()["accuracy"] {
				t.Errorf("trial %d at %v, accuracy %v: event %d says %v", trial.GetNumber(), share, e.GetMetrics()["accuracy"], e.GetSeq(), m)
			}
			delete(measured, e.GetSeq())
		}
	}
	for seq, m := range measured {
		t.Errorf("event %d is of no evaluation: %v", seq, m)
	}
}

// stints are the steps at which a trial stopped training for the search, one after the other.
type stints map[int][]int64

// decided gives the events to a search made anew, and checks that what it decides is what came to pass: the trials with their points and where they
// begin, each stint to the step it was to end at, what was stopped, and the end.
func (s searched) decided(t *testing.T) (copies int) {
	t.Helper()
	searcher, err := search.New(spec.Config(s.GetJob().GetSpec(), s.GetSweep().GetPrior()))
	if err != nil {
		t.Fatal(err)
	}
	want, finished := stints{}, ""
	var created []search.Create
	stint := func(trial int, until float64) {
		if trial <= len(s.trials) {
			want[trial] = append(want[trial], int64(math.Ceil(until*float64(s.trials[trial-1].GetTotalSteps())-1e-9)))
		}
	}
	for _, e := range s.events {
		for _, d := range searcher.Step(spec.Event(e)) {
			switch {
			case d.Create != nil:
				created = append(created, *d.Create)
				stint(d.Create.Trial, d.Create.Until)
			case d.Continue != nil:
				stint(d.Continue.Trial, d.Continue.Until)
			case d.Finish:
				finished = d.Reason
			}
		}
	}
	if len(created) != len(s.trials) || finished == "" || !strings.EqualFold(finished+".", s.GetSweep().GetReason()) {
		t.Fatalf("%d trials decided, %d made; finished %q, and the sweep says %q", len(created), len(s.trials), finished, s.GetSweep().GetReason())
	}
	for i, trial := range s.trials {
		if diff := cmp.Diff(map[string]any(created[i].Point), trial.GetParameters().AsMap()); diff != "" || int(trial.GetNumber()) != created[i].Trial {
			t.Errorf("trial %d is not what was decided (-decided +made):\n%s", trial.GetNumber(), diff)
		}
		if (created[i].From > 0) != (trial.GetStartCheckpointId() != "") {
			t.Errorf("trial %d was to begin from trial %d and began from %q", trial.GetNumber(), created[i].From, trial.GetStartCheckpointId())
		}
		if created[i].From > 0 {
			copies++
		}
	}
	if diff := cmp.Diff(want, s.stints()); diff != "" {
		t.Errorf("stints are not those that were decided (-decided +trained):\n%s", diff)
	}
	return copies
}

// stints are those that came to pass.
func (s searched) stints() stints {
	got, step := stints{}, map[int32]int64{}
	for _, e := range s.events {
		if m := e.GetMeasured(); m != nil {
			step[m.GetTrial()] = int64(math.Round(m.GetShare() * float64(s.trials[m.GetTrial()-1].GetTotalSteps())))
		}
		switch n := e.GetEnded().GetTrial(); e.GetEnded().GetOutcome() {
		case tandemv1.TrialOutcome_TRIAL_OUTCOME_REACHED, tandemv1.TrialOutcome_TRIAL_OUTCOME_COMPLETED:
			got[int(n)] = append(got[int(n)], step[n])
		}
	}
	return got
}

// best checks that the best trial has the best value of all, and that it is the one that was published.
func (s searched) best(c *cluster) {
	c.t.Helper()
	trial, value := int32(0), math.Inf(-1)
	for _, e := range s.events {
		m := e.GetMeasured()
		if m != nil && (m.GetValue() > value || m.GetValue() == value && m.GetTrial() < trial) { // as good: the one made first
			trial, value = m.GetTrial(), m.GetValue()
		}
	}
	if s.GetBest().GetNumber() != trial || s.GetSweep().GetBestValue() != value {
		c.t.Errorf("the best is trial %d with %v; the sweep says trial %d with %v", trial, value, s.GetBest().GetNumber(), s.GetSweep().GetBestValue())
	}
	res, err := c.api.Models.GetVersion(c.t.Context(), connect.NewRequest(&tandemv1.GetVersionRequest{Version: s.GetJob().GetPublishedVersion()}))
	if err != nil {
		c.t.Fatalf("version %q: %v", s.GetJob().GetPublishedVersion(), err)
	}
	if l := res.Msg.GetVersion().GetLineage(); l.GetCheckpointId() != s.GetBest().GetBestCheckpointId() || l.GetJobId() != s.GetJob().GetId() {
		c.t.Errorf("published is %v, the best checkpoint of trial %d is %s", l, trial, s.GetBest().GetBestCheckpointId())
	}
}

// TestSweepOutlivesItsLeaders searches with ASHA, and the leader is killed twice in the middle: no report is lost or told twice, the decisions are
// those that follow from the events, and the best trial is published.
func TestSweepOutlivesItsLeaders(t *testing.T) {
	c := newCluster(t, 3, 2, 2)
	c.digits()
	id := c.submit(c.spec("asha", ashaSweep))
	for _, n := range []int32{7, 15} {
		c.made(id, n)
		leader := c.leader()
		if leader < 0 {
			t.Fatal("nobody leads")
		}
		c.coordinators[leader].kill()
		eventually(t, 20*time.Second, "another coordinator leads", func() bool { l := c.leader(); return l >= 0 && l != leader })
		c.coordinators[leader].start()
	}
	s := c.searched(id)
	if s.GetJob().GetState() != tandemv1.JobState_JOB_STATE_COMPLETED || len(s.trials) != 24 {
		t.Fatalf("%v after %d trials: %s", s.GetJob().GetState(), len(s.trials), s.GetJob().GetReason())
	}
	s.once(t)
	s.decided(t)
	s.best(c)
	if s.GetSweep().GetBestValue() < 0.9 {
		t.Errorf("the best accuracy is %v", s.GetSweep().GetBestValue())
	}
	t.Logf("%d events, %v, best %v, slots held %.0f s, took %v", len(s.events), s.GetSweep().GetTrials(), s.GetSweep().GetBestValue(),
		s.GetSweep().GetSlotSeconds(), s.GetJob().GetFinishedAt().AsTime().Sub(s.GetJob().GetStartedAt().AsTime()).Round(time.Second))
	c.shown(id)
}

// shown looks at a sweep as its user does.
func (c *cluster) shown(id string) {
	c.t.Helper()
	rows, err := csv.NewReader(strings.NewReader(c.run(0, "sweep", "trials", id, "-o", "csv"))).ReadAll()
	if err != nil || len(rows) != 25 {
		c.t.Errorf("%d rows of CSV, %v", len(rows), err)
	}
	c.run(0, "sweep", "status", id)
	c.run(0, "sweep", "importance", id)
	c.run(0, "submit", "--dry-run", "-f", c.spec("winner", c.run(0, "sweep", "best", id, "-o", "yaml")))
	if text := c.run(0, "sweep", "replay", id, "--method", "asha,divisor=3,rungs=3", "--method", "asha,divisor=9,rungs=2"); !strings.Contains(text, "asha,divisor=9,rungs=2") {
		c.t.Errorf("replay says\n%s", text)
	}
	page := filepath.Join(c.dir, "sweep.html")
	c.run(0, "sweep", "plot", id, "--file", page)
	if b, err := os.ReadFile(page); err != nil || bytes.Count(b, []byte("<svg")) != 4 {
		c.t.Errorf("the page has %d pictures, %v", bytes.Count(b, []byte("<svg")), err)
	}
	c.run(5, "sweep", "status", "nothing-of-this-name")
	c.run(9, "sweep", "stop-trial", id, fmt.Sprint(c.sweep(id).GetBest().GetNumber()), "-y") // it has completed
}

// TestSweepsInBatch: population-based training begins trials from others, and the pipeline of the examples does all by itself.
func TestSweepsInBatch(t *testing.T) {
	c := newCluster(t, 1, 2, 2)
	c.digits()
	s := c.searched(c.submit(c.spec("pbt", pbtSweep)))
	if s.GetJob().GetState() != tandemv1.JobState_JOB_STATE_COMPLETED || len(s.trials) < 4 {
		t.Fatalf("%v after %d trials: %s", s.GetJob().GetState(), len(s.trials), s.GetJob().GetReason())
	}
	s.once(t)
	h, urls := c.agentClient()
	defer h.CloseIdleConnections()
	reused := int64(0)
	for _, url := range urls {
		reused += readMetric(t.Context(), h, url, "tandem_agent_engine_reuses_total")
	}
	t.Logf("%d stints in the process of another", reused)
	if reused == 0 {
		t.Error("each stint had a process of its own")
	}
	if copies := s.decided(t); copies == 0 {
		t.Error("no trial took over a checkpoint")
	}
	s.best(c)

	small := strings.NewReplacer("max_trials: 24", "max_trials: 3", "epochs: 9", "epochs: 1", "{name: asha, divisor: 3, rungs: 3}", "{name: random}").Replace(ashaSweep)
	path := c.spec("small", small)
	values := c.pipeline(path)
	if !strings.HasPrefix(values["sweep"], "job-") || !strings.HasPrefix(values["job"], "job-") || values["version"] != "winner@1" || !strings.HasPrefix(values["best_value"], "0.") {
		t.Errorf("the pipeline found out %v", values)
	}
	if again := c.pipeline(path); !maps.Equal(values, again) {
		t.Errorf("started again the pipeline did other things: %v, then %v", values, again)
	}
	c.run(0, "cancel", "-y", c.submit(c.spec("again", ashaSweep)))
	c.run(4, "wait", "asha")
}

// pipeline runs the pipeline of the examples, always under the same name, and returns what it found out.
func (c *cluster) pipeline(spec string) map[string]string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(programs.repository, "examples", "sweeps", "pipeline.sh"), spec, "2", "winner")
	cmd.Env = append(os.Environ(), "RUN=nightly", "TANDEM_CONFIG="+c.contexts, "PATH="+filepath.Dir(programs.tandem)+string(os.PathListSeparator)+os.Getenv("PATH"))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("pipeline: %v\n%s%s", err, out, errs.String())
	}
	values := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[name] = value
	}
	return values
}
