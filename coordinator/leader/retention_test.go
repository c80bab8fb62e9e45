package leader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/fsm/fsmtest"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/memstore"
)

// bubble is a world whose time is that of a synctest bubble, with a store.
type bubble struct {
	*fsmtest.World
	store *memstore.Store
	batch *state.Tx // of many commands; nil: each has its own
}

func newBubble(t *testing.T, hook memstore.Hook) *bubble {
	return &bubble{World: fsmtest.New(t), store: memstore.New(memstore.Config{Hook: hook, Now: time.Now})}
}

func (b *bubble) Propose(ctx context.Context, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	b.Now = time.Now()
	if b.batch == nil {
		return b.World.Propose(ctx, cmd)
	}
	cmd.Time = timestamppb.New(b.Now)
	return fsm.Apply(b.batch, b.batch.Index()+1, cmd)
}

func (b *bubble) apply(cmd *tandemv1.Command) {
	b.T.Helper()
	if res, err := b.Propose(b.T.Context(), cmd); err != nil || anyRefused(res) {
		b.T.Fatalf("%v: %v %v", cmd, res, err)
	}
}

// lead runs the loop gc until the returned function is called, again after each failure.
func (b *bubble) lead() (end func()) {
	ctx, cancel := context.WithCancel(b.T.Context())
	loop := GC(b.S, b, func() (storage.Store, error) { return b.store, nil }, zerolog.Nop())
	done := make(chan struct{})
	go func() { defer close(done); NewSupervisor(nil, nil, zerolog.Nop()).keep(ctx, loop) }()
	return func() { cancel(); <-done }
}

// submit submits a job.
func (b *bubble) submit(n int) (job string) {
	job = fmt.Sprintf("job-%05d", n)
	b.apply(&tandemv1.Command{RequestId: "submit-" + job, Command: &tandemv1.Command_CreateJob{CreateJob: &tandemv1.CreateJob{
		Job: &tandemv1.Job{Id: job, Name: "digits", Kind: tandemv1.JobKind_JOB_KIND_TRAIN, Spec: &tandemv1.JobSpec{
			DatasetId: "data-1", Metric: "loss", Mode: "min", Resources: &tandemv1.ResourceSpec{Workers: 1, Pool: "default"},
		}},
		Trial: &tandemv1.Trial{Id: fmt.Sprintf("trial-%05d", n)},
	}}})
	return job
}

// train takes a job from its submission to its end, with a checkpoint, a log and metrics.
func (b *bubble) train(n int) {
	b.submit(n)
	trial, alloc := fmt.Sprintf("trial-%05d", n), fmt.Sprintf("alloc-%05d", n)
	prefix := layout.Checkpoint(layout.Checkpoints(trial), 5, 1)
	for _, key := range []string{prefix + "/shard-00000-0123456789abcdef.safetensors", prefix + "/manifest.json", layout.Logs(trial) + "1.jsonl", layout.Metrics(trial, "train") + "1.jsonl"} {
		b.store.Overwrite(key, []byte("x"))
	}
	engine := state.EngineID(alloc, 0)
	report := func(ids []string, all ...*tandemv1.EngineReport) *tandemv1.Command {
		for _, r := range all {
			r.EngineId, r.Generation = engine, 1
		}
		return &tandemv1.Command{Command: &tandemv1.Command_ApplyReports{ApplyReports: &tandemv1.ApplyReports{NodeId: "n1", Incarnation: 1, Ids: ids, Reports: all}}}
	}
	b.apply(&tandemv1.Command{Command: &tandemv1.Command_ApplyPlan{ApplyPlan: &tandemv1.ApplyPlan{Allocations: []*tandemv1.Allocation{
		{Id: alloc, TrialId: trial, Members: []*tandemv1.Member{{NodeId: "n1", SlotId: "cpu0"}}},
	}}}})
	b.apply(report(nil, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: 5}}}))
	b.apply(&tandemv1.Command{Command: &tandemv1.Command_ReformAllocation{ReformAllocation: &tandemv1.ReformAllocation{AllocationId: alloc, Form: []int32{0}}}})
	b.apply(report([]string{"ckpt-" + trial, ""},
		&tandemv1.EngineReport{Report: &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{
			Checkpoint: &tandemv1.Checkpoint{Step: 5, Bytes: 2, Prefix: prefix, ManifestSha256: "s"},
		}}},
		&tandemv1.EngineReport{Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}}))
}

func (b *bubble) prepare() {
	b.Put(fsmtest.Node("n1", 1))
	b.apply(&tandemv1.Command{Command: &tandemv1.Command_CreateDataset{CreateDataset: &tandemv1.CreateDataset{Dataset: &tandemv1.Dataset{Id: "data-1", Name: "d", Prefix: "datasets/data-1"}}}})
	b.store.Overwrite("datasets/data-1/manifest.json", []byte("x"))
}

// size is how many rows of each kind there are, how many records a snapshot has, and how many objects the store.
func (b *bubble) size() map[string]int {
	b.T.Helper()
	sizes := map[string]int{"objects": len(b.store.Keys())}
	for _, kind := range schema.Rows() {
		if n := len(b.S.View().Rows(kind)); n > 0 {
			sizes[string(kind.Record.Name())] = n
			sizes["snapshot"] += n
		}
	}
	var snapshot bytes.Buffer
	if err := format.Write(&snapshot, b.S.View()); err != nil {
		b.T.Fatal(err)
	}
	return sizes
}

func deleteJobs(before time.Time, ids ...string) *tandemv1.Command {
	c := &tandemv1.DeleteJobs{JobIds: ids}
	if !before.IsZero() {
		c.FinishedBefore = timestamppb.New(before)
	}
	return &tandemv1.Command{Actor: "ann", Command: &tandemv1.Command_DeleteJobs{DeleteJobs: c}}
}

// TestTenThousandJobs: when 10,000 jobs are deleted, state, snapshot and store are what they were before.
func TestTenThousandJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, nil)
		b.prepare()
		before := b.size()
		const jobs, trained = 10_000, 1_000
		var ids []string
		b.batch = b.S.Begin()
		for i := range jobs {
			if i < trained {
				b.train(i)
			} else {
				b.apply(&tandemv1.Command{Command: &tandemv1.Command_SetJobIntent{SetJobIntent: &tandemv1.SetJobIntent{
					JobId: b.submit(i), Intent: tandemv1.JobIntent_JOB_INTENT_CANCEL,
				}}})
			}
			ids = append(ids, fmt.Sprintf("job-%05d", i))
		}
		if err := b.batch.Commit(); err != nil {
			t.Fatal(err)
		}
		b.batch = nil
		full := map[string]int{
			"node": 1, "dataset": 1, "job": jobs, "trial": jobs, "checkpoint": trained, "request": jobs, "event": state.EventLimit,
			"snapshot": 2 + 3*jobs + trained + state.EventLimit, "objects": 1 + 4*trained,
		}
		if diff := cmp.Diff(full, b.size()); diff != "" {
			t.Fatalf("with %d jobs (-want +got):\n%s", jobs, diff)
		}
		end := b.lead()
		time.Sleep(time.Hour)
		b.apply(deleteJobs(time.Now(), ids...))
		time.Sleep(time.Hour)
		if diff := cmp.Diff([]string{"datasets/data-1/manifest.json"}, b.store.Keys()); diff != "" {
			t.Errorf("an hour later the store has (-want +got):\n%s", diff)
		}
		time.Sleep(fsm.UploadLimit)
		end()
		after := b.size()
		before["event"], before["snapshot"] = 1, before["snapshot"]+1-before["event"] // that they were deleted
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("a day later (-want +got):\n%s", diff)
		}
		last := b.S.View().Events(1)[0]
		want := map[string]string{"jobs": "10000", "trials": "10000", "checkpoints": "1000", "bytes": "2000", "by": "ann", "before": last.GetArgs()["before"]}
		if diff := cmp.Diff(want, last.GetArgs()); last.GetType() != tandemv1.Event_TYPE_JOBS_PRUNED || diff != "" {
			t.Errorf("the event is %v (-want +got):\n%s", last, diff)
		}
	})
}

// TestGarbageOutlastsLeaders: what the store refuses and what leaders leave undone is done by the next, and what an upload brings late too.
func TestGarbageOutlastsLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := false
		b := newBubble(t, func(_ context.Context, op memstore.Op) memstore.Fault {
			if away && op.Kind == memstore.OpDelete {
				return memstore.Fault{Err: errors.New("the store is away")}
			}
			return memstore.Fault{}
		})
		b.prepare()
		b.train(1)
		b.train(2)
		kept := b.size()
		end := b.lead()
		away = true
		b.apply(deleteJobs(time.Time{}, "job-00001"))
		time.Sleep(time.Minute)
		if g := b.S.View().Garbage(); len(g) != 1 || g[0].GetEmptied() || b.size()["objects"] != kept["objects"] {
			t.Fatalf("without the store: %v, %v", g, b.store.Keys())
		}
		end()
		away = false
		end = b.lead()
		time.Sleep(time.Minute)
		if g := b.S.View().Garbage(); len(g) != 1 || !g[0].GetEmptied() || b.size()["objects"] != kept["objects"]-4 {
			t.Fatalf("the next leader left %v, %v", g, b.store.Keys())
		}
		b.store.Overwrite("trials/trial-00001/logs/2.jsonl", []byte("late"))
		time.Sleep(fsm.UploadLimit)
		end()
		if g := b.S.View().Garbage(); len(g) != 0 || b.size()["objects"] != kept["objects"]-4 {
			t.Errorf("a day later there is %v, %v", g, b.store.Keys())
		}
	})
}

// TestSearchedOnce: a new leader does not search the store for each trial there ever was.
func TestSearchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lists := map[string]int{}
		b := newBubble(t, func(_ context.Context, op memstore.Op) memstore.Fault {
			if op.Kind == memstore.OpList {
				lists[op.Key]++
			}
			return memstore.Fault{}
		})
		b.prepare()
		for i := range 250 {
			b.train(i)
		}
		open, trial := fsmtest.Job("open", 1)
		trial.CreatedAt = timestamppb.Now()
		b.Put(open, trial)
		for range 4 {
			end := b.lead()
			time.Sleep(12 * time.Hour)
			end()
		}
		for _, again := range []string{"trials/opent/ckpt/", layout.Uploads} {
			if n := lists[again]; n < 7 || n > 8 {
				t.Errorf("%s was listed %d times in two days", again, n)
			}
			delete(lists, again)
		}
		for key, n := range lists {
			if n != 1 {
				t.Errorf("%s was listed %d times", key, n)
			}
		}
		if len(lists) != 250 {
			t.Errorf("%d trials that have ended were searched", len(lists))
		}
	})
}

// TestRetentionOfTheCluster: nothing is deleted until a policy says so; then old jobs and events go, and an event says by what.
func TestRetentionOfTheCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, nil)
		b.prepare()
		b.Put(&tandemv1.Cluster{Id: "cluster-1"})
		end := b.lead()
		defer end()
		b.train(1)
		b.submit(2) // waits
		const day = 24 * time.Hour
		time.Sleep(10 * day)
		b.train(3)
		jobs := func() (ids []string) {
			for _, j := range b.S.View().Jobs() {
				ids = append(ids, j.GetId())
			}
			return ids
		}
		if diff := cmp.Diff([]string{"job-00001", "job-00002", "job-00003"}, jobs()); diff != "" {
			t.Fatalf("without a policy (-want +got):\n%s", diff)
		}
		keep := func(jobs, events *durationpb.Duration) {
			b.apply(&tandemv1.Command{Actor: "root", Command: &tandemv1.Command_SetRetention{SetRetention: &tandemv1.SetRetention{Retention: &tandemv1.RetentionPolicy{Jobs: jobs, Events: events}}}})
		}
		keep(durationpb.New(7*day), nil)
		time.Sleep(time.Hour)
		if diff := cmp.Diff([]string{"job-00002", "job-00003"}, jobs()); diff != "" {
			t.Errorf("after 10 of 7 days (-want +got):\n%s", diff)
		}
		last := b.S.View().Events(1)[0]
		if last.GetType() != tandemv1.Event_TYPE_JOBS_PRUNED || last.GetArgs()["policy"] != "true" || last.GetArgs()["jobs"] != "1" {
			t.Errorf("the event is %v", last)
		}
		time.Sleep(7*day - 2*time.Hour)
		if n := len(jobs()); n != 2 {
			t.Errorf("an hour early %d jobs are left", n)
		}
		time.Sleep(2 * time.Hour)
		if diff := cmp.Diff([]string{"job-00002"}, jobs()); diff != "" {
			t.Errorf("what has not ended stays (-want +got):\n%s", diff)
		}
		keep(nil, durationpb.New(2*time.Hour))
		time.Sleep(time.Hour)
		first := b.S.View().Events(0)[0]
		if first.GetTime().AsTime().Before(time.Now().Add(-2*time.Hour - gcTick)) {
			t.Errorf("the oldest event is %v", first)
		}
	})
}

// TestRetentionOfLogs: the logs of old jobs go and nothing else of them; the job says when and how long after its end, and what comes late
// goes too.
func TestRetentionOfLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, nil)
		b.prepare()
		b.Put(&tandemv1.Cluster{Id: "cluster-1"})
		end := b.lead()
		defer end()
		const day = 24 * time.Hour
		b.train(1)
		time.Sleep(4 * day)
		b.train(2)
		kept := slices.DeleteFunc(b.store.Keys(), func(key string) bool { return strings.HasPrefix(key, layout.Logs("trial-00001")) })
		b.apply(&tandemv1.Command{Actor: "root", Command: &tandemv1.Command_SetRetention{SetRetention: &tandemv1.SetRetention{Retention: &tandemv1.RetentionPolicy{Logs: durationpb.New(3 * day)}}}})
		time.Sleep(time.Hour)
		if diff := cmp.Diff(kept, b.store.Keys()); diff != "" {
			t.Errorf("the store (-want +got):\n%s", diff)
		}
		first, _ := b.S.View().Job("job-00001")
		if first.GetLogsDeletedAt() == nil || first.GetLogsKeptFor().AsDuration().Round(day) != 4*day {
			t.Errorf("the old job is %v", first)
		}
		if second, _ := b.S.View().Job("job-00002"); second.GetLogsDeletedAt() != nil {
			t.Errorf("the new job is %v", second)
		}
		last := b.S.View().Events(1)[0]
		if text := say.Event(last, say.CLI); last.GetType() != tandemv1.Event_TYPE_LOGS_PRUNED || !strings.Contains(text, "The logs of 1 job that ended before") || !strings.Contains(text, "as the retention of the cluster says") {
			t.Errorf("the event is %v: %s", last, text)
		}
		b.store.Overwrite(layout.Logs("trial-00001")+"2.jsonl", []byte("late"))
		time.Sleep(fsm.UploadLimit + time.Hour)
		if diff := cmp.Diff(kept, b.store.Keys()); diff != "" || len(b.S.View().Garbage()) != 0 {
			t.Errorf("a day later (-want +got):\n%s%v", diff, b.S.View().Garbage())
		}
		if last := b.S.View().Events(1)[0]; last.GetType() == tandemv1.Event_TYPE_LOGS_PRUNED && last.GetTime().AsTime().After(first.GetLogsDeletedAt().AsTime()) {
			t.Errorf("the same logs were deleted again: %v", last)
		}
	})
}
