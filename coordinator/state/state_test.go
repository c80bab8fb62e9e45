package state_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// write makes changes at an index.
func write(t *testing.T, s *state.State, index uint64, change func(*state.Tx)) {
	t.Helper()
	tx := s.Begin()
	tx.SetIndex(index)
	change(tx)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func job(id, name string, created int64) *tandemv1.Job {
	return &tandemv1.Job{Id: id, Name: name, CreatedAt: &timestamppb.Timestamp{Seconds: created}}
}

func TestViewsDoNotChange(t *testing.T) {
	s := state.New()
	write(t, s, 5, func(tx *state.Tx) { tx.Put(job("job-1", "a", 1)) })
	before := s.View()
	tx := s.Begin()
	tx.SetIndex(6)
	tx.Put(job("job-2", "b", 2))
	if _, ok := tx.Job("job-2"); !ok {
		t.Error("a transaction does not see what it has written")
	}
	if _, ok := s.View().Job("job-2"); ok {
		t.Error("a view sees what is not committed")
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := len(before.Jobs()); got != 1 || before.Index() != 5 {
		t.Errorf("an old view has %d jobs at index %d", got, before.Index())
	}
	after := s.View()
	if j, ok := after.Job("job-2"); !ok || j.GetModifiedIndex() != 6 || after.Index() != 6 || s.Index() != 6 {
		t.Errorf("the new view is at %d with job %v", after.Index(), j)
	}
	aborted := s.Begin()
	aborted.Delete(job("job-1", "", 0))
	aborted.Abort()
	if n := len(s.View().Jobs()); n != 2 {
		t.Errorf("%d jobs after an aborted transaction", n)
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := state.New()
		woken := make(chan error)
		go func() { woken <- s.Wait(t.Context(), 7) }()
		synctest.Wait()
		write(t, s, 7, func(*state.Tx) {})
		synctest.Wait()
		select {
		case err := <-woken:
			t.Fatalf("woken at index 7: %v", err)
		default:
		}
		write(t, s, 8, func(*state.Tx) {})
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Wait(ctx, 8); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestResolve(t *testing.T) {
	s := state.New()
	write(t, s, 1, func(tx *state.Tx) {
		tx.Put(job("job-01ab", "digits", 9))
		tx.Put(job("job-01cd", "digits", 3))
		tx.Put(job("job-02", "job-01", 1))
		tx.Put(&tandemv1.Dataset{Id: "data-1", Name: "d", Version: 2})
		tx.Put(&tandemv1.Dataset{Id: "data-2", Name: "d", Version: 10})
		tx.Put(&tandemv1.Dataset{Id: "data-3", Name: "dd", Version: 11})
		tx.Put(&tandemv1.Model{Name: "m", LatestVersion: 2, Aliases: []*tandemv1.Alias{{Name: "champion", Version: 1}}})
		tx.Put(&tandemv1.Version{Id: "ver-1", Model: "m", Number: 1})
		tx.Put(&tandemv1.Version{Id: "ver-2", Model: "m", Number: 2})
		tx.Put(&tandemv1.Model{Name: "plain", LatestVersion: 2, Aliases: []*tandemv1.Alias{{Name: "best", Version: 1}}})
		tx.Put(&tandemv1.Version{Id: "ver-3", Model: "plain", Number: 1})
		tx.Put(&tandemv1.Version{Id: "ver-4", Model: "plain", Number: 2})
	})
	v := s.View()
	jobs := func(ref string) (string, error) { j, err := v.ResolveJob(ref); return j.GetId(), err }
	data := func(ref string) (string, error) { d, err := v.ResolveDataset(ref); return d.GetId(), err }
	version := func(ref string) (string, error) { x, err := v.ResolveVersion(ref); return x.GetId(), err }
	for _, c := range []struct {
		find func(string) (string, error)
		ref  string
		want string
		err  error
	}{
		{jobs, "job-01ab", "job-01ab", nil},
		{jobs, "digits", "job-01ab", nil}, // the newest
		{jobs, "job-01", "job-02", nil},   // a name goes before a prefix
		{jobs, "job-01c", "job-01cd", nil},
		{jobs, "01c", "job-01cd", nil},
		{jobs, "job-", "", state.ErrAmbiguous},
		{jobs, "x", "", state.ErrNotFound},
		{jobs, "", "", state.ErrNotFound},
		{data, "d", "data-2", nil},
		{data, "d@2", "data-1", nil},
		{data, "d@3", "", state.ErrNotFound},
		{data, "d@x", "", state.ErrNotFound},
		{data, "data-3", "data-3", nil},
		{version, "m", "ver-1", nil}, // what is served
		{version, "plain", "ver-4", nil},
		{version, "m@champion", "ver-1", nil},
		{version, "m@2", "ver-2", nil},
		{version, "m@3", "", state.ErrNotFound},
		{version, "m@nobody", "", state.ErrNotFound},
		{version, "n", "", state.ErrNotFound},
	} {
		got, err := c.find(c.ref)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q: got %q, %v; want %q, %v", c.ref, got, err, c.want, c.err)
		}
	}
}

// TestNamesOfJobs: what goes on is preferred, what would change one of several is an error that lists them, and a slip is told what was
// probably meant.
func TestNamesOfJobs(t *testing.T) {
	s := state.New()
	write(t, s, 1, func(tx *state.Tx) {
		for i, j := range []struct {
			id, name string
			kind     tandemv1.JobKind
			state    tandemv1.JobState
		}{
			{"job-a1", "one-runs", tandemv1.JobKind_JOB_KIND_TRAIN, tandemv1.JobState_JOB_STATE_RUNNING},
			{"job-a2", "one-runs", tandemv1.JobKind_JOB_KIND_TRAIN, tandemv1.JobState_JOB_STATE_COMPLETED},
			{"job-b1", "two-go-on", tandemv1.JobKind_JOB_KIND_TRAIN, tandemv1.JobState_JOB_STATE_PAUSED},
			{"job-b2", "two-go-on", tandemv1.JobKind_JOB_KIND_SWEEP, tandemv1.JobState_JOB_STATE_PENDING},
			{"job-b3", "two-go-on", tandemv1.JobKind_JOB_KIND_TRAIN, tandemv1.JobState_JOB_STATE_FAILED},
			{"job-c1", "all-over", tandemv1.JobKind_JOB_KIND_SWEEP, tandemv1.JobState_JOB_STATE_FAILED},
			{"job-c2", "all-over", tandemv1.JobKind_JOB_KIND_SWEEP, tandemv1.JobState_JOB_STATE_COMPLETED},
			{"job-d1", "digits", tandemv1.JobKind_JOB_KIND_TRAIN, tandemv1.JobState_JOB_STATE_COMPLETED},
		} {
			row := job(j.id, j.name, int64(i))
			row.Kind, row.State = j.kind, j.state
			tx.Put(row)
		}
	})
	v := s.View()
	for _, tc := range []struct {
		find func(string) (*tandemv1.Job, error)
		ref  string
		want string // the id, or the error
	}{
		{v.ResolveJob, "one-runs", "job-a1"},
		{v.ResolveJobToChange, "one-runs", "job-a1"},
		{v.ResolveJob, "two-go-on", "job-b2"},
		{v.ResolveJobToChange, "two-go-on", `job "two-go-on" is ambiguous: it can be job-b2 (pending, submitted 1970-01-01T00:00:03Z), job-b1 (paused, submitted 1970-01-01T00:00:02Z); name one by its id`},
		{v.ResolveSweepToChange, "two-go-on", "job-b2"},
		{v.ResolveJob, "all-over", "job-c2"},
		{v.ResolveJobToChange, "all-over", `job "all-over" is ambiguous: it can be job-c2 (completed, submitted 1970-01-01T00:00:06Z), job-c1 (failed, submitted 1970-01-01T00:00:05Z); name one by its id`},
		{v.ResolveJobToChange, "job-c1", "job-c1"},
		{v.ResolveJobToChange, "digits", "job-d1"},
		{v.ResolveJob, "digts", `job "digts" was not found; the nearest name is digits`},
		{v.ResolveSweep, "digts", `sweep "digts" was not found`}, // only a job that trains is near
		{v.ResolveSweep, "al-over", `sweep "al-over" was not found; the nearest name is all-over`},
		{v.ResolveSweep, "digits", "job digits (job-d1) is not a sweep but a job of kind train"},
		{v.ResolveSweep, "job-d", "job digits (job-d1) is not a sweep but a job of kind train"},
		{v.ResolveJob, "x", `job "x" was not found`},
		{v.ResolveJob, "job-", `job "job-" is ambiguous: it can be job-a1, job-a2, job-b1, job-b2, job-b3 and 3 more; name one by its id`},
	} {
		got, err := tc.find(tc.ref)
		if text := got.GetId() + fmt.Sprint(err); strings.TrimSuffix(strings.TrimPrefix(text, "<nil>"), "<nil>") != tc.want {
			t.Errorf("%s: %s, want %s", tc.ref, text, tc.want)
		}
	}
	if _, err := v.ResolveVersion("m"); err == nil || err.Error() != `model "m" was not found` {
		t.Errorf("%v", err)
	}
}

func TestOrder(t *testing.T) {
	s := state.New()
	write(t, s, 1, func(tx *state.Tx) {
		tx.Put(job("job-1", "", 1_000_000_000))
		tx.Put(job("job-2", "", 999_999_999))
		tx.Put(job("job-3", "", 0))
		for n := int64(12); n > 0; n-- {
			tx.Put(&tandemv1.Version{Id: fmt.Sprint("ver-", n), Model: "m", Number: n})
			tx.Put(&tandemv1.Version{Id: fmt.Sprint("ver-x", n), Model: "mm", Number: n})
		}
	})
	var ids []string
	for _, j := range s.View().Jobs() {
		ids = append(ids, j.GetId())
	}
	if diff := cmp.Diff([]string{"job-3", "job-2", "job-1"}, ids); diff != "" {
		t.Errorf("jobs by creation (-want +got):\n%s", diff)
	}
	for i, v := range s.View().VersionsOf("m") {
		if v.GetNumber() != int64(i+1) || v.GetModel() != "m" {
			t.Errorf("version %d is %v", i+1, v)
		}
	}
}

func TestEventsAreARing(t *testing.T) {
	s := state.New()
	event := func(n int) *tandemv1.Event {
		return &tandemv1.Event{Id: fmt.Sprintf("%020d.000", n), JobId: fmt.Sprint("job-", n%2)}
	}
	for n := range state.EventLimit + 5 {
		write(t, s, uint64(n+1), func(tx *state.Tx) { tx.Put(event(n)) })
	}
	write(t, s, state.EventLimit+10, func(tx *state.Tx) { tx.Put(event(state.EventLimit)) }) // again
	v := s.View()
	all := v.Events(0)
	if len(all) != state.EventLimit || all[0].GetId() != event(5).GetId() {
		t.Errorf("%d events from %s", len(all), all[0].GetId())
	}
	newest := v.EventsOf("job-1", 2)
	if diff := cmp.Diff([]*tandemv1.Event{event(state.EventLimit + 1), event(state.EventLimit + 3)}, newest, protocmp.Transform()); diff != "" {
		t.Errorf("newest of a job (-want +got):\n%s", diff)
	}
}

func TestBestAndLatestCheckpoint(t *testing.T) {
	ckpt := func(id string, step, generation int64, loss ...float64) *tandemv1.Checkpoint {
		c := &tandemv1.Checkpoint{Id: id, Step: step, Generation: generation}
		for _, l := range loss {
			c.Metrics = map[string]float64{"loss": l}
		}
		return c
	}
	deleting := ckpt("gone", 99, 9, 0)
	deleting.Deleting = true
	all := []*tandemv1.Checkpoint{ckpt("a", 10, 1, 0.5), ckpt("b", 20, 1, 0.2), ckpt("c", 30, 1, 0.2), ckpt("d", 40, 1), ckpt("e", 40, 2), deleting}
	if got := state.BestCheckpoint(&tandemv1.JobSpec{Metric: "loss", Mode: "min"}, all).GetId(); got != "b" {
		t.Errorf("the smallest loss is %q", got)
	}
	if got := state.BestCheckpoint(&tandemv1.JobSpec{Metric: "loss", Mode: "max"}, all).GetId(); got != "a" {
		t.Errorf("the largest loss is %q", got)
	}
	if got := state.BestCheckpoint(&tandemv1.JobSpec{Metric: "accuracy", Mode: "max"}, all); got != nil {
		t.Errorf("the best of a metric that none has is %v", got)
	}
	if got := state.LatestCheckpoint(all).GetId(); got != "e" {
		t.Errorf("the latest is %q", got)
	}
}

func TestBestEvaluation(t *testing.T) {
	at := func(step int64, metrics map[string]float64) *tandemv1.Evaluation {
		return &tandemv1.Evaluation{Step: step, Metrics: metrics}
	}
	all := []*tandemv1.Evaluation{
		at(1, map[string]float64{"loss": 0}), at(2, map[string]float64{"accuracy": 1, "loss": 0.3}), at(3, map[string]float64{"accuracy": 1, "loss": 0.2}),
		at(4, map[string]float64{"accuracy": 1, "loss": 0.2}), at(5, map[string]float64{"accuracy": math.NaN(), "loss": 0.1}),
	}
	spec := &tandemv1.JobSpec{Metric: "accuracy", Mode: "max", TieBreaker: "loss"}
	if got := state.BestEvaluation(spec, all).GetStep(); got != 3 {
		t.Errorf("the best is that of step %d", got)
	}
	if got := state.BestEvaluation(spec, all[:1]); got != nil {
		t.Errorf("the best of what has no accuracy is %v", got)
	}
}

func TestBindHost(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1:7000": "10.0.0.1", "[::1]:7000": "::1", "worker-1:7000": "worker-1", "worker-1": "worker-1", "::1": "::1",
	} {
		s := state.New()
		write(t, s, 1, func(tx *state.Tx) {
			tx.Put(&tandemv1.Node{Id: "node-a", Address: address, State: tandemv1.NodeState_NODE_STATE_ALIVE})
			tx.Put(&tandemv1.Allocation{Id: "alloc-1", Members: []*tandemv1.Member{{NodeId: "node-a"}, {Number: 1, NodeId: "node-b"}}})
		})
		tasks := state.Desired(s.View(), "node-a")
		if len(tasks) != 1 || tasks[0].GetTrain().GetBindHost() != want {
			t.Errorf("%s: %v", address, tasks)
		}
	}
}

// TestPublishTaskNamesIncumbents: what holds an alias is measured beside the new version, each once, where the spec says so.
func TestPublishTaskNamesIncumbents(t *testing.T) {
	for when, want := range map[string][]string{"better": {"ver-1", "ver-2"}, "always": nil, "": nil} {
		s := state.New()
		write(t, s, 1, func(tx *state.Tx) {
			tx.Put(&tandemv1.Version{Id: "ver-1", Model: "m", Number: 1, Prefix: "models/ver-1", ManifestSha256: "s1"})
			tx.Put(&tandemv1.Version{Id: "ver-2", Model: "m", Number: 2, Prefix: "models/ver-2"})
			tx.Put(&tandemv1.Model{Name: "m", LatestVersion: 2, Aliases: []*tandemv1.Alias{{Name: "a", Version: 1}, {Name: "b", Version: 1}, {Name: "c", Version: 2}}})
			tx.Put(&tandemv1.Node{Id: "node-a", State: tandemv1.NodeState_NODE_STATE_ALIVE})
			tx.Put(&tandemv1.Job{Id: "job-1", Spec: &tandemv1.JobSpec{Publish: &tandemv1.PublishSpec{Model: "m", Aliases: []string{"a", "b", "c", "new"}, If: when}}})
			tx.Put(&tandemv1.Checkpoint{Id: "ckpt-1", JobId: "job-1"})
			tx.Put(&tandemv1.Allocation{
				Id: "alloc-1", JobId: "job-1", Stage: tandemv1.TrialStage_TRIAL_STAGE_PUBLISH, ResumeCheckpointId: "ckpt-1",
				Members: []*tandemv1.Member{{NodeId: "node-a"}},
			})
		})
		tasks := state.Desired(s.View(), "node-a")
		if len(tasks) != 1 {
			t.Fatal(tasks)
		}
		var got []string
		for _, of := range tasks[0].GetPublish().GetIncumbents() {
			got = append(got, of.GetVersionId())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("if %q (-want +got):\n%s", when, diff)
		}
	}
}

func TestParseEngineID(t *testing.T) {
	for id, ok := range map[string]bool{
		"alloc-1/0": true, "alloc-1/12": true, "replica-1": false, "alloc-1/": false, "alloc-1/-1": false,
		"alloc-1/+1": false, "alloc-1/01": false, "alloc-1/0/0": false, "": false,
	} {
		a, rank, got := state.ParseEngineID(id)
		if got != ok || ok && state.EngineID(a, rank) != id {
			t.Errorf("%q: %q %d %t", id, a, rank, got)
		}
	}
}
