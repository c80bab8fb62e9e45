package agent

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

var testLimits = limits{grace: 5 * time.Second, brief: 5 * time.Second, hello: time.Minute, end: 10 * time.Second, idle: 20 * time.Second, probe: 5 * time.Second}

func TestReconcile(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	a, b := task("a", 1, 0), task("b", 1, 0) // both on cpu0
	stopping := task("a", 1, 0)
	stopping.GetTrain().Stopping = true
	elsewhere := task("c", 1, 5)
	beyond := task("a", 1, 0)
	beyond.GetTrain().ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 9999, protowire.VarintType), 1))
	newer := task("a", 1, 0)
	newer.Generation = 2
	grouped := func(generation int64, broken bool) *tandemv1.EngineTask {
		t := task("a", 1, 0)
		t.GetTrain().Group, t.GetTrain().Broken = &tandemv1.ProcessGroup{Generation: generation, WorldSize: 2}, broken
		return t
	}
	first, second, broken := grouped(1, false), grouped(2, false), grouped(2, true)
	told := func(t *tandemv1.EngineTask) func(*engineView) { return func(v *engineView) { v.orders = ordersOf(t) } }
	is := func(t *tandemv1.EngineTask, p phase, change ...func(*engineView)) engineView {
		v := engineView{key: keyOf(t), slot: t.GetSlotId(), phase: p, started: ago(30), job: t.GetTrain().GetJobId()}
		for _, f := range change {
			f(&v)
		}
		return v
	}
	hung := func(v *engineView) { v.hung = true }
	full := func(v *engineView) { v.full = "too much disk" }
	fenced := func(v *engineView) { v.fenced = true }
	termed := func(s int) func(*engineView) { return func(v *engineView) { v.termed = ago(s) } }
	spoke := func(s int) func(*engineView) { return func(v *engineView) { v.spoke = ago(s) } }
	idle := func(s int) func(*engineView) { return func(v *engineView) { v.spoke, v.idle = ago(s), ago(s) } }
	ofJob := func(t *tandemv1.EngineTask, job string) *tandemv1.EngineTask {
		t.GetTrain().JobId = job
		return t
	}
	b1, a1, b2 := ofJob(task("b", 1, 0), "1"), ofJob(task("a", 1, 0), "1"), ofJob(task("b", 1, 0), "2")
	serves := serveTask("b", "m")
	serves.SlotId = "cpu0"
	started := func(s int) func(*engineView) { return func(v *engineView) { v.started = ago(s) } }
	for _, tc := range []struct {
		name string
		w    world
		want []string
		wake time.Duration // from now; 0: none
	}{
		{"nothing known, nothing done", world{engines: []engineView{is(a, phaseUp)}}, nil, 0},
		{"start", world{known: true, desired: []*tandemv1.EngineTask{a}}, []string{"start alloc-a1/0"}, 0},
		{"all is well", world{known: true, desired: []*tandemv1.EngineTask{a}, engines: []engineView{is(a, phaseReady)}}, nil, 0},
		{"one process a slot", world{known: true, desired: []*tandemv1.EngineTask{a, b}}, []string{"start alloc-a1/0"}, 0},
		{
			"the slot is not free yet", world{known: true, desired: []*tandemv1.EngineTask{b}, engines: []engineView{is(a, phaseTerminating, termed(1))}},
			nil, 4 * time.Second,
		},
		{"its process has ended", world{known: true, desired: []*tandemv1.EngineTask{a}, done: map[taskKey]bool{keyOf(a): true}}, nil, 0},
		{"no such slot", world{known: true, desired: []*tandemv1.EngineTask{elsewhere}}, []string{"refuse alloc-c1/5"}, 0},
		{"a task of a newer coordinator", world{known: true, desired: []*tandemv1.EngineTask{beyond}}, []string{"refuse alloc-a1/0"}, 0},
		{"one that runs is not ended for that", world{known: true, desired: []*tandemv1.EngineTask{beyond}, engines: []engineView{is(a, phaseUp)}}, nil, 0},
		{"no longer wanted", world{known: true, engines: []engineView{is(a, phaseReady)}}, []string{"terminate alloc-a1/0"}, 0},
		{
			"a newer generation", world{known: true, desired: []*tandemv1.EngineTask{newer}, engines: []engineView{is(a, phaseReady)}},
			[]string{"terminate alloc-a1/0"}, 0,
		},
		{"SIGTERM was not enough", world{known: true, engines: []engineView{is(a, phaseTerminating, termed(5))}}, []string{"kill alloc-a1/0"}, 0},
		{"killed", world{known: true, engines: []engineView{is(a, phaseKilled, termed(50), fenced)}}, nil, 0},
		{"fenced", world{known: true, desired: []*tandemv1.EngineTask{a}, engines: []engineView{is(a, phaseReady, fenced)}}, []string{"kill alloc-a1/0"}, 0},
		{"stop", world{known: true, desired: []*tandemv1.EngineTask{stopping}, engines: []engineView{is(a, phaseReady)}}, []string{"tell alloc-a1/0"}, 0},
		{"stops", world{known: true, desired: []*tandemv1.EngineTask{stopping}, engines: []engineView{is(a, phaseReady, told(stopping))}}, nil, 0},
		{"another group", world{known: true, desired: []*tandemv1.EngineTask{second}, engines: []engineView{is(a, phaseReady, told(first))}}, []string{"tell alloc-a1/0"}, 0},
		{"a broken group", world{known: true, desired: []*tandemv1.EngineTask{broken}, engines: []engineView{is(a, phaseReady, told(second))}}, []string{"tell alloc-a1/0"}, 0},
		{"the same group", world{known: true, desired: []*tandemv1.EngineTask{second}, engines: []engineView{is(a, phaseReady, told(second))}}, nil, 0},
		{
			"orders wait for hello", world{known: true, desired: []*tandemv1.EngineTask{stopping}, engines: []engineView{is(a, phaseStarting)}},
			nil, 30 * time.Second,
		},
		{
			"no hello", world{known: true, desired: []*tandemv1.EngineTask{a}, engines: []engineView{is(a, phaseStarting, started(60))}},
			[]string{"kill alloc-a1/0"}, 0,
		},
		{
			"no hello of one that was up", world{known: true, desired: []*tandemv1.EngineTask{a}, engines: []engineView{is(a, phaseStarting, started(10), func(v *engineView) { v.handed = true })}},
			[]string{"kill alloc-a1/0"}, 0,
		},
		{"hung", world{known: true, desired: []*tandemv1.EngineTask{a}, engines: []engineView{is(a, phaseReady, hung)}}, []string{"kill alloc-a1/0"}, 0},
		{"takes too much disk", world{known: true, desired: []*tandemv1.EngineTask{a}, engines: []engineView{is(a, phaseReady, full)}}, []string{"kill alloc-a1/0"}, 0},
		{"and is about to end", world{engines: []engineView{is(a, phaseTerminating, full, termed(1))}}, []string{"kill alloc-a1/0"}, 0},
		{"and waits for a task", world{known: true, engines: []engineView{is(a, phaseUp, full, idle(1))}}, []string{"kill alloc-a1/0"}, 0},
		{"hung and not wanted", world{known: true, engines: []engineView{is(a, phaseReady, hung)}}, []string{"terminate alloc-a1/0"}, 0},
		{"time to end after the last word", world{known: true, engines: []engineView{is(a, phaseReady, spoke(3))}}, nil, 7 * time.Second},
		{
			"does not end after it", world{known: true, desired: []*tandemv1.EngineTask{a}, engines: []engineView{is(a, phaseReady, spoke(10))}},
			[]string{"terminate alloc-a1/0"}, 0,
		},
		{"waits for another task", world{known: true, engines: []engineView{is(a1, phaseReady, idle(3))}}, nil, 17 * time.Second},
		{"has waited long enough", world{known: true, engines: []engineView{is(a1, phaseReady, idle(20))}}, []string{"kill alloc-a1/0"}, 0},
		{"has nothing to wait for", world{known: true, cordoned: true, engines: []engineView{is(a1, phaseReady, idle(0))}}, []string{"kill alloc-a1/0"}, 0},
		{"trains on a node that is cordoned", world{known: true, cordoned: true, desired: []*tandemv1.EngineTask{a1}, engines: []engineView{is(a1, phaseReady)}}, nil, 0},
		{"gets the next of its job", world{known: true, desired: []*tandemv1.EngineTask{b1}, engines: []engineView{is(a1, phaseReady, idle(3))}}, []string{"hand over alloc-b1/0"}, 17 * time.Second},
		{"gets none of another job", world{known: true, desired: []*tandemv1.EngineTask{b2}, engines: []engineView{is(a1, phaseReady, idle(3))}}, []string{"kill alloc-a1/0"}, 17 * time.Second},
		{"gets nothing else", world{known: true, desired: []*tandemv1.EngineTask{serves}, engines: []engineView{is(a1, phaseReady, idle(3))}}, []string{"kill alloc-a1/0"}, 17 * time.Second},
		{"gets nothing while its task is not over", world{known: true, desired: []*tandemv1.EngineTask{b1}, engines: []engineView{is(a1, phaseReady, spoke(3))}}, nil, 7 * time.Second},
		{
			"gets nothing of an agent that leaves", world{known: true, leaving: true, desired: []*tandemv1.EngineTask{b1}, engines: []engineView{is(a1, phaseReady, idle(3))}},
			[]string{"kill alloc-a1/0"}, 0,
		},
		{
			"gets nothing when it is ended", world{known: true, desired: []*tandemv1.EngineTask{b1}, engines: []engineView{is(a1, phaseTerminating, idle(3), termed(1))}},
			nil, 4 * time.Second,
		},
		{
			"the agent leaves", world{known: true, leaving: true, desired: []*tandemv1.EngineTask{a, b}, engines: []engineView{is(a, phaseReady)}},
			[]string{"terminate alloc-a1/0"}, 0,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.w.limits, tc.w.slots = testLimits, map[string]bool{"cpu0": true, "cpu1": true}
			actions, wake := reconcile(now, tc.w)
			var got []string
			for _, a := range actions {
				if a.reason == "" {
					t.Errorf("%v %s without a reason", a.verb, a.key.id)
				}
				got = append(got, fmt.Sprintf("%v %s", a.verb, a.key.id))
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			var left time.Duration
			if !wake.IsZero() {
				left = wake.Sub(now)
			}
			if left != tc.wake {
				t.Errorf("wake in %v, want %v", left, tc.wake)
			}
		})
	}
}

// TestReconcileConverges drives reconcile with engines that do as they are told, or not, and desired states that
// change: no slot ever has two processes, no task ever two, nothing stays that is not wanted, and all that is wanted
// and has a slot comes.
func TestReconcileConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_000_000, 0)
		engines := map[taskKey]*engineView{}
		w := world{known: true, done: map[taskKey]bool{}, limits: testLimits, slots: map[string]bool{"cpu0": true, "cpu1": true, "cpu2": true}}
		started := map[taskKey]bool{}
		pass := func() int {
			w.engines = nil
			for _, e := range engines {
				w.engines = append(w.engines, *e)
			}
			slices.SortFunc(w.engines, func(a, b engineView) int { return int(a.key.generation - b.key.generation) })
			actions, _ := reconcile(now, w)
			for _, a := range actions {
				e := engines[a.key]
				switch a.verb {
				case verbStart:
					if started[a.key] {
						t.Fatalf("%v is started twice", a.key)
					}
					for _, other := range engines {
						if other.slot == a.task.GetSlotId() {
							t.Fatalf("%v is started beside %v", a.key, other.key)
						}
					}
					started[a.key] = true
					engines[a.key] = &engineView{key: a.key, slot: a.task.GetSlotId(), started: now, job: a.task.GetTrain().GetJobId()}
				case verbHandOver:
					from := engines[a.from]
					if started[a.key] || from == nil || from.idle.IsZero() || from.slot != a.task.GetSlotId() || from.phase >= phaseTerminating {
						t.Fatalf("%v gets the process of %+v", a.key, from)
					}
					started[a.key] = true
					delete(engines, a.from)
					w.done[a.from] = true
					engines[a.key] = &engineView{key: a.key, slot: a.task.GetSlotId(), started: now, job: a.task.GetTrain().GetJobId()}
				case verbTerminate:
					e.phase, e.termed = phaseTerminating, now
				case verbKill:
					e.phase = phaseKilled
				case verbTell:
					e.orders = ordersOf(a.task)
				case verbRefuse:
					w.done[a.key] = true
				}
			}
			return len(actions)
		}
		bury := func(key taskKey) {
			delete(engines, key)
			w.done[key] = true
		}
		generation := int64(0)
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			switch rapid.SampledFrom([]string{"want", "hello", "finish", "rest", "die", "time", "pass"}).Draw(t, "event") {
			case "want":
				w.desired = nil
				for slot := range 4 { // one slot more than there are
					if rapid.Bool().Draw(t, "wanted") {
						generation++
						next := task("x", generation, int32(slot))
						next.GetTrain().JobId = rapid.SampledFrom([]string{"1", "1", "2"}).Draw(t, "job")
						w.desired = append(w.desired, next)
					}
				}
			case "hello":
				for _, e := range engines {
					if e.phase == phaseStarting {
						e.phase = phaseUp
					}
				}
			case "finish":
				for _, e := range engines {
					if e.phase == phaseUp && e.key.generation%2 == 0 && e.spoke.IsZero() {
						e.spoke = now
					}
				}
			case "rest":
				for _, e := range engines {
					if !e.spoke.IsZero() && e.phase == phaseUp && e.idle.IsZero() {
						e.idle = now
					}
				}
			case "die":
				for key := range engines {
					if key.generation%3 == 0 {
						bury(key)
					}
				}
			case "time":
				now = now.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "seconds")) * time.Second)
			}
			pass()
		}
		// From here on engines say hello and die when they are killed, as the kernel sees to.
		for range 20 {
			now = now.Add(6 * time.Second)
			for key, e := range engines {
				switch e.phase {
				case phaseStarting:
					e.phase = phaseUp
				case phaseKilled:
					bury(key)
				}
			}
			pass()
		}
		if n := pass(); n != 0 {
			t.Fatalf("%d actions when all should be well", n)
		}
		wanted := map[taskKey]bool{}
		for _, task := range w.desired {
			key := keyOf(task)
			wanted[key] = true
			if engines[key] == nil && !w.done[key] {
				t.Fatalf("%v is wanted and does not come", key)
			}
		}
		for key := range engines {
			if !wanted[key] {
				t.Fatalf("%v stays", key)
			}
		}
	})
}
