package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"tandem.dev/storage"
)

// TestScenarios runs testdata/*.txt (go test -rewrite accepts what comes out).
//
//	new rank=R world=W spool=BYTES         a machine; spool=0: no folder
//	save step=S mb=N [best=S] [every=D] [last]   what becomes of a checkpoint, of a share of N MB, due D after the one before
//	next                                   the next task
//	ok | away | full | stale | broken | missing | short     how the task went (short: the pause was cut short)
//	go                                     tasks that all go well, until nothing is left or a pause
//	join generation=G rank=R world=W | free | finish | forsake | after D | lists
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &scenario{t: t}
		datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			s.run(d)
			s.follow()
			return s.out.String()
		})
	})
}

type scenario struct {
	t    *testing.T
	m    machine
	now  time.Duration
	task task
	out  strings.Builder
}

func (s *scenario) run(d *datadriven.TestData) {
	number := func(key string) (n int) {
		d.MaybeScanArgs(s.t, key, &n)
		return n
	}
	duration := func(text string) time.Duration {
		v, err := time.ParseDuration(text)
		if err != nil {
			s.t.Fatal(err)
		}
		return v
	}
	switch d.Cmd {
	case "new":
		s.m = machine{folder: number("spool") > 0, spoolBytes: int64(number("spool")) * 1e6, generation: 1, rank: number("rank"), world: max(1, number("world"))}
	case "save":
		every := "1m"
		d.MaybeScanArgs(s.t, "every", &every)
		s.save(number("step"), number("mb"), number("best"), duration(every), d.HasArg("last"))
	case "next":
		s.task = s.m.next()
		s.follow()
		fmt.Fprintln(&s.out, taskText(s.task))
	case "go":
		for ok := true; ok; {
			s.task = s.m.next()
			s.follow()
			fmt.Fprintln(&s.out, taskText(s.task))
			_, ended := s.task.(endTask)
			_, waits := s.task.(pauseTask)
			if ok = !ended && !waits; ok {
				s.went("ok")
			}
		}
	case "join":
		s.m.join(int64(number("generation")), number("rank"), number("world"))
	case "free":
		s.m.noneBusy()
	case "finish":
		s.m.finish()
	case "forsake":
		fmt.Fprintln(&s.out, "only former ones:", s.m.formerOnly())
		s.m.forsake()
	case "after":
		s.now += duration(d.CmdArgs[0].Key)
	case "lists":
		fmt.Fprintf(&s.out, "queue %s, writing %s, pending %s, busy %v\n", numbers(s.m.queue), numbers(s.m.writing), numbers(s.m.pending), s.m.busy())
		fmt.Fprintf(&s.out, "committed %d, left out %d, given up %d, failure: %v\n", s.m.stats.Committed, s.m.stats.LeftOut, s.m.stats.GivenUp, s.m.failure)
	default:
		s.went(d.Cmd)
	}
}

func (s *scenario) save(step, mb, best int, every time.Duration, last bool) {
	turn := s.m.admit(int64(mb)*1e6, every, last)
	fmt.Fprintln(&s.out, []string{"?", "begins", "waits", "left out", "blocked", "refused"}[turn])
	if turn == begins || turn == waits {
		if best == 0 {
			best = -1
		}
		e := &entry{number: s.m.number(), generation: s.m.generation, step: int64(step), best: int64(best), rank: s.m.rank, bytes: int64(mb) * 1e6, begin: time.Unix(0, 0).Add(s.now)}
		s.m.hold(e, turn, every)
	}
}

var outcomes = map[string]error{
	"ok": nil, "missing": nil, "short": nil, "away": storage.ErrUnavailable, "full": storage.ErrFull, "stale": ErrStale, "broken": errors.New("no such bucket"),
}

// went tells the machine how its task went.
func (s *scenario) went(how string) {
	err, known := outcomes[how]
	if !known {
		s.t.Fatalf("unknown command %q", how)
	}
	missing := 0
	if how == "missing" {
		missing = 1
	}
	now := time.Unix(0, 0).Add(s.now)
	switch t := s.task.(type) {
	case pauseTask:
		s.m.paused(how == "short")
	case probeTask:
		s.m.probed(err == nil)
	case spoolTask:
		s.m.spooled(t.number, err)
	case uploadTask:
		s.m.uploaded(t.number, err)
	case lookTask:
		s.m.looked(missing, err)
	case commitTask:
		s.m.committed(missing, err, now)
	case reportTask:
		s.m.reported(err, now)
	case nil:
		s.t.Fatalf("%s: there is no task", how)
	}
	s.task = nil
	s.follow()
}

func (s *scenario) follow() {
	for _, act := range s.m.take() {
		if text := actionText(act); text != "" {
			fmt.Fprintln(&s.out, "  "+text)
		}
	}
	if s.m.more {
		s.m.more = false
		fmt.Fprintln(&s.out, "  wake the worker")
	}
	s.m.changed = false
}

func taskText(t task) string {
	switch t := t.(type) {
	case endTask:
		return "end"
	case pauseTask:
		return fmt.Sprint("pause ", t.d)
	case probeTask:
		return "probe"
	case spoolTask:
		return fmt.Sprint("spool ", t.number)
	case uploadTask:
		return fmt.Sprint("upload ", t.number)
	case lookTask:
		return fmt.Sprint("look ", t.number)
	case commitTask:
		return fmt.Sprint("commit ", t.number)
	case reportTask:
		return fmt.Sprint("report ", t.number)
	case tellTask:
		return fmt.Sprintf("tell %.40q", t.message)
	}
	return fmt.Sprintf("%T", t)
}

func actionText(act action) string {
	switch act := act.(type) {
	case cancelUpload:
		return fmt.Sprint("cancel ", act.number)
	case reuseMemory:
		return fmt.Sprint("reuse the memory of ", act.number)
	case dropShare:
		return fmt.Sprint("drop ", act.number)
	case forgetEntry:
		return fmt.Sprint("forget ", act.number)
	case logLine:
		text := fmt.Sprintf("log %d: %.60s", act.number, act.text)
		if act.err != nil {
			text += fmt.Sprintf(" (%v)", act.err)
		}
		return text
	}
	return fmt.Sprintf("%T", act)
}

func numbers(list []*entry) string {
	var all []int64
	for _, e := range list {
		all = append(all, e.number)
	}
	return fmt.Sprint(all)
}

// TestNothingIsLost: whatever happens, each checkpoint comes to one end; what was dropped is not touched again, what is in use is not
// dropped, of a large state one copy is in memory; and when all goes well the worker comes to its end.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		world := rapid.IntRange(1, 3).Draw(t, "world")
		m := &machine{folder: rapid.Bool().Draw(t, "folder"), spoolBytes: rapid.Int64Range(1, 300e6).Draw(t, "spool"), generation: 1, rank: rapid.IntRange(0, world-1).Draw(t, "rank"), world: world}
		saves, dropped, over := int64(0), map[int64]bool{}, map[int64]bool{}
		used := int64(0)
		follow := func() {
			for _, act := range m.take() {
				switch act := act.(type) {
				case dropShare:
					if act.number == used {
						t.Fatalf("%d is dropped while it is in use", used)
					}
					dropped[act.number] = true
				case forgetEntry:
					if over[act.number] {
						t.Fatalf("%d ends twice", act.number)
					}
					over[act.number] = true
				}
			}
		}
		step, ending := int64(0), false
		save := func() {
			step++
			mb := rapid.SampledFrom([]int64{1, 100}).Draw(t, "MB")
			turn := m.admit(mb*1e6, time.Minute, rapid.Bool().Draw(t, "last"))
			follow()
			switch turn {
			case leftOut:
				saves++
			case begins, waits:
				saves++
				m.hold(&entry{number: m.number(), generation: m.generation, step: step, best: rapid.Int64Range(-1, step).Draw(t, "best"), rank: m.rank, bytes: mb * 1e6}, turn, time.Minute)
				follow()
				large := 0
				for _, e := range slices.Concat(m.queue, m.writing) {
					if e.at == inMemory && e.bytes > queueBytes && m.current(e) {
						large++
					}
				}
				if large > 1 {
					t.Fatalf("%d large copies are in memory", large)
				}
			}
		}
		// use is the time in which a share is written to disk or to the store.
		use := func(number int64) {
			follow()
			if used = number; dropped[used] {
				t.Fatalf("%d is in use after it was dropped", used)
			}
			if !ending && rapid.Bool().Draw(t, "save meanwhile") {
				save()
			}
			used = 0
		}
		one := func(err error, missing int) (goes bool) {
			switch task := m.next().(type) {
			case endTask:
				follow()
				return false
			case pauseTask:
				m.paused(err == nil)
			case probeTask:
				m.probed(err == nil)
			case spoolTask:
				use(task.number)
				m.spooled(task.number, err)
			case uploadTask:
				use(task.number)
				m.uploaded(task.number, err)
			case lookTask:
				m.looked(missing, err)
			case commitTask:
				m.committed(missing, err, time.Time{})
			case reportTask:
				m.reported(err, time.Time{})
			}
			follow()
			return true
		}
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0, 1, 2:
				save()
			case 3:
				if !m.busy() {
					m.noneBusy()
				}
			case 4:
				m.join(m.generation+1, m.rank, m.world)
			case 5:
				m.finish()
			default:
				one(rapid.SampledFrom([]error{nil, nil, nil, storage.ErrUnavailable, storage.ErrFull, errors.New("broken")}).Draw(t, "error"), rapid.IntRange(0, 1).Draw(t, "missing"))
			}
			follow()
		}
		ending = true
		m.finish()
		for n := 0; one(nil, 0); n++ {
			if n > 1000 {
				t.Fatal("all goes well, and the worker does not come to its end")
			}
		}
		if int64(len(over)) != m.count {
			t.Fatalf("%d of %d have come to an end", len(over), m.count)
		}
		if s := m.stats; m.rank == 0 && saves != s.LeftOut+s.GivenUp+s.Committed { // the others do not commit
			t.Fatalf("%d were saved, counted are %+v", saves, s)
		}
	})
}
