package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"tandem.dev/storage"
)

// place is where this process has a share.
type place int

const (
	inMemory place = iota
	onDisk
	inStore
)

// entry is one checkpoint of this rank, from the copy of its share to the end.
type entry struct {
	number     int64 // counts those of this process
	generation int64
	step, best int64 // best: the step that was best so far; -1: nobody knows
	rank       int
	bytes      int64 // of the share
	begin      time.Time
	at         place
	stuck      bool          // in memory though the store is away, for the disk does not take it
	used       bool          // it is being written, to disk or to the store
	overtook   time.Duration // the interval after which the next was due, before this one was done; 0: it was done by then
}

// machine knows where the checkpoints of one rank are, and decides what is done with them. It is pure: the keeper tells it what
// happened, one thing after the other, and does what it says: its actions at once, and one task of the worker after the other (next).
type machine struct {
	generation  int64
	rank, world int
	folder      bool  // there is a place on disk for what waits
	spoolBytes  int64 // of all that waits there

	queue   []*entry // in memory until no rank is busy: the newest and the best
	writing []*entry // this rank's share goes to the store, one at a time, oldest first
	pending []*entry // it is there; rank 0 waits for those of the others
	free    bool     // no rank is busy, and nothing was begun since

	away, full bool   // the store is unavailable, or full; or full
	awayFor    string // what it said, or what was met
	told       string // what people know of that; empty: that it serves
	slow       bool   // as it was said

	count   int64 // of entries
	ended   int64 // number of the newest that ended
	failure error // of that one
	closing bool
	stats   Stats
	round   round

	actions []action // not taken yet
	changed bool     // something did that may be waited for
	more    bool     // the worker has more to do
}

// action is something to do at once, in the order given.
type action interface{ action() }

type (
	// cancelUpload ends the upload of a share.
	cancelUpload struct{ number int64 }
	// reuseMemory keeps the memory of a share for the next one.
	reuseMemory struct{ number int64 }
	// dropShare lets go of the copy of a share.
	dropShare struct{ number int64 }
	// forgetEntry is the last that is said of an entry.
	forgetEntry struct{ number int64 }
	// logLine is for the log.
	logLine struct {
		number  int64 // 0: it is about the store
		warning bool
		err     error
		text    string
		took    time.Duration // 0: nobody measured it
		limit   time.Duration
		waiting int
	}
)

func (cancelUpload) action() {}
func (reuseMemory) action()  {}
func (dropShare) action()    {}
func (forgetEntry) action()  {}
func (logLine) action()      {}

// take returns the actions since the last call.
func (m *machine) take() []action {
	all := m.actions
	m.actions = nil
	return all
}

func (m *machine) do(all ...action) { m.actions = append(m.actions, all...) }

// join: this process is another rank of another generation from now on. What is under way goes on as what it was.
func (m *machine) join(generation int64, rank, world int) {
	m.release(len(m.queue))
	m.generation, m.rank, m.world, m.free = generation, rank, world, false
}

// busy tells whether this rank still holds a share that is being written.
func (m *machine) busy() bool {
	return slices.ContainsFunc(m.writing, func(e *entry) bool { return e.at == inMemory && !e.stuck && m.current(e) })
}

// noneBusy: all ranks know that none of them is.
func (m *machine) noneBusy() {
	m.free = len(m.queue) == 0
	m.release(min(1, len(m.queue)))
}

// release begins the n oldest that wait.
func (m *machine) release(n int) {
	if n == 0 {
		return
	}
	m.writing = append(m.writing, m.queue[:n]...)
	m.queue = slices.Clone(m.queue[n:])
	m.more = true
}

// turn is when a checkpoint is written.
type turn int

const (
	begins  turn = iota + 1 // at once
	waits                   // when no rank is busy
	leftOut                 // never
	blocked                 // ask again when something changed
	refused                 // never again: the generation is over
)

// admit decides what becomes of the next checkpoint, which is due so long after the one before; all ranks decide the same.
func (m *machine) admit(share int64, interval time.Duration, last bool) turn {
	if errors.Is(m.failure, ErrStale) {
		return refused
	}
	free := m.free || m.world == 1 && !m.busy()
	if free && len(m.queue) == 0 {
		m.free = false
		m.replace()
		return begins
	}
	m.overtake(interval)
	switch {
	case share <= queueBytes:
		return waits
	case !last:
		m.stats.LeftOut++
		return leftOut
	case !m.busy():
		m.replace()
		return begins
	}
	return blocked
}

// number is that of the next entry.
func (m *machine) number() int64 {
	m.count++
	return m.count
}

// hold: the share of an admitted checkpoint was copied.
func (m *machine) hold(e *entry, t turn, interval time.Duration) {
	if t == begins {
		m.writing = append(m.writing, e)
		m.more = true
		return
	}
	e.overtook = interval
	m.queue = append(m.queue, e)
	for _, old := range surplus(m.queue) {
		m.queue = without(m.queue, old)
		m.stats.LeftOut++
		m.do(dropShare{old.number}, forgetEntry{old.number})
	}
}

// finish: no further checkpoint comes before those that wait are written.
func (m *machine) finish() { m.release(len(m.queue)) }

// formerOnly tells whether all that is left are parts of former generations, which may never be complete.
func (m *machine) formerOnly() bool {
	return len(m.writing) == 0 && !slices.ContainsFunc(m.pending, m.current)
}

// forsake gives these up.
func (m *machine) forsake() {
	for _, e := range slices.Clone(m.pending) {
		m.giveUp(e, "ranks of its generation are gone")
	}
}

func (m *machine) current(e *entry) bool { return e.generation == m.generation }

// replace gives up what the next checkpoint takes the memory of.
func (m *machine) replace() {
	for _, e := range slices.Clone(m.writing) {
		if e.at == inMemory && e.bytes > queueBytes && (e.stuck || !m.current(e)) {
			m.giveUp(e, "a newer checkpoint takes its place")
		}
	}
}

// overtake notes that the next checkpoint is due, so long after the one before, while some are under way.
func (m *machine) overtake(interval time.Duration) {
	for _, e := range slices.Concat(m.writing, m.pending) {
		if e.overtook == 0 {
			e.overtook = interval
		}
	}
}

// outage notes whether the store takes what is sent, and tells when it does not.
func (m *machine) outage(err error) bool {
	if m.closing {
		return storage.IsOutage(err)
	}
	was, waiting := m.away, len(m.writing)+len(m.pending)
	m.away, m.full = storage.IsOutage(err), errors.Is(err, storage.ErrFull)
	if m.away {
		m.awayFor = fmt.Sprintf("%.400s", err)
	}
	if m.away && !was {
		m.do(logLine{warning: true, err: err, waiting: waiting, text: "the store does not serve; checkpoints wait for it"})
		m.changed = true
	}
	if was && !m.away {
		m.do(logLine{waiting: waiting, text: "the store serves again; the checkpoints that waited go there now"})
	}
	return m.away
}

// end notes how the newest entry that ended did.
func (m *machine) end(e *entry, err error) {
	if err != nil {
		m.stats.GivenUp++
		m.do(logLine{number: e.number, warning: true, err: err, text: "a checkpoint was not kept; the next is tried"})
	}
	if e.number >= m.ended && !errors.Is(m.failure, ErrStale) {
		m.ended, m.failure = e.number, err
	}
}

// giveUp ends an entry, wherever it is. What it left in the store, the coordinator deletes.
func (m *machine) giveUp(e *entry, why string) {
	m.writing, m.pending = without(m.writing, e), without(m.pending, e)
	m.stats.GivenUp++
	m.changed = true
	m.do(logLine{number: e.number, warning: true, text: "a checkpoint was given up: " + why})
	if e.used { // it is dropped when that has ended
		m.do(cancelUpload{e.number})
		return
	}
	m.do(dropShare{e.number}, forgetEntry{e.number})
}

func find(list []*entry, number int64) *entry {
	if i := slices.IndexFunc(list, func(e *entry) bool { return e.number == number }); i >= 0 {
		return list[i]
	}
	return nil
}

func without(list []*entry, e *entry) []*entry {
	return slices.DeleteFunc(slices.Clone(list), func(x *entry) bool { return x == e })
}

// surplus returns those that retention would not keep: all but the newest and the best.
func surplus(list []*entry) (all []*entry) {
	if len(list) == 0 {
		return nil
	}
	newest := list[len(list)-1]
	for _, e := range list[:len(list)-1] {
		if e.step != newest.best {
			all = append(all, e)
		}
	}
	return all
}
