package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// task is what the worker does next, one at a time. It tells the machine how that went, by the method of the same sense.
type task interface{ task() }

type (
	// endTask: nothing is left to do; the worker ends.
	endTask struct{}
	// pauseTask: nothing can be done before so long (paused).
	pauseTask struct{ d time.Duration }
	// probeTask asks whether the store is back, without sending it a share (probed).
	probeTask struct{}
	// spoolTask moves a share from memory to disk (spooled).
	spoolTask struct{ number int64 }
	// uploadTask brings a share to the store (uploaded).
	uploadTask struct{ number int64 }
	// lookTask asks the store which parts of other ranks are missing (looked).
	lookTask struct{ number int64 }
	// commitTask makes a checkpoint of the parts of all ranks (committed).
	commitTask struct{ number int64 }
	// reportTask tells the coordinator of it (reported).
	reportTask struct{ number int64 }
	// tellTask tells people (nothing comes back).
	tellTask struct {
		warning bool
		message string
	}
)

func (endTask) task()    {}
func (pauseTask) task()  {}
func (probeTask) task()  {}
func (spoolTask) task()  {}
func (uploadTask) task() {}
func (lookTask) task()   {}
func (commitTask) task() {}
func (reportTask) task() {}
func (tellTask) task()   {}

// stage is where a round of the worker is: what can wait on disk goes there while the store is away; then one share goes to the store,
// and what is complete is committed.
type stage int

const (
	stageStart stage = iota
	stageSpool
	stageProbe
	stageUpload
	stageLook
	stageCommit
	stageReport
	stageTell
	stagePause
)

// round is one pass of the worker over all that is under way.
type round struct {
	stage      stage
	away, full bool // as the store was when it began
	moved      bool // something went on: the next begins at once
	pause      time.Duration
	look       []*entry // pending ones that are looked for, oldest first
	found      []*entry // of them those that are complete, or cannot be looked for, oldest first
	tells      []tellTask
}

// next returns the task that comes now. Nothing else may be under way.
func (m *machine) next() task {
	r := &m.round
	for {
		if len(r.tells) > 0 {
			t := r.tells[0]
			r.tells = r.tells[1:]
			return t
		}
		switch r.stage {
		case stageStart:
			if len(m.writing) == 0 && len(m.pending) == 0 && !m.alone() {
				*r = round{}
				return endTask{}
			}
			*r = round{stage: stageSpool, away: m.away, full: m.full, pause: max(r.pause, firstPause)}
		case stageSpool:
			if e := m.toSpool(); e != nil {
				return spoolTask{e.number}
			}
			r.stage = stageProbe
		case stageProbe:
			if r.away && !r.full {
				return probeTask{}
			}
			r.stage = stageUpload
		case stageUpload:
			if len(m.writing) > 0 {
				e := m.writing[0]
				e.stuck, e.used = false, true
				return uploadTask{e.number}
			}
			m.lookAll()
		case stageLook:
			if n := len(r.look); n > 0 {
				return lookTask{r.look[n-1].number} // the newest first, see looked
			}
			r.stage = stageCommit
		case stageCommit:
			if len(r.found) > 0 {
				return commitTask{r.found[0].number}
			}
			r.stage = stageTell
		case stageReport:
			return reportTask{r.found[0].number}
		case stageTell:
			if r.away {
				m.tellOutage()
			}
			r.stage = stagePause
		case stagePause:
			if !r.moved {
				return pauseTask{r.pause}
			}
			r.stage, r.pause = stageStart, 0
		}
	}
}

// alone begins what waits when there are no other ranks to agree with.
func (m *machine) alone() bool {
	if m.world > 1 || len(m.queue) == 0 {
		return false
	}
	m.writing, m.queue = append(m.writing, m.queue[0]), slices.Clone(m.queue[1:])
	return true
}

// paused: the pause is over, or was cut short by something new.
func (m *machine) paused(short bool) {
	r := &m.round
	if !short {
		longest := maxPause
		if r.full {
			longest = fullPause
		}
		r.pause = min(2*r.pause, longest)
	}
	r.stage = stageStart
}

// probed tells whether the store answers.
func (m *machine) probed(answers bool) {
	m.round.stage = stageTell
	if answers {
		m.round.stage = stageUpload
	}
}

var errNoSpool = errors.New("there is no folder for it")

// toSpool returns a share that is to go from memory to disk, if there is one, and makes room for it: what retention would not keep is
// given up, so that training goes on while the store is away.
func (m *machine) toSpool() *entry {
	if !m.round.away {
		return nil
	}
	for {
		i := slices.IndexFunc(m.writing, func(e *entry) bool { return e.at == inMemory && !e.stuck })
		if i < 0 {
			return nil
		}
		e := m.writing[i]
		for _, old := range surplus(m.writing) {
			if old != e && (old.at == onDisk || old.stuck) {
				m.giveUp(old, "a newer one waits for the store")
			}
		}
		err := m.fits(e)
		for err != nil && m.makeRoom() {
			err = m.fits(e)
		}
		if err == nil {
			e.used = true
			return e
		}
		m.stick(e, err)
	}
}

// fits tells whether the limit leaves room on disk for a share.
func (m *machine) fits(e *entry) error {
	if !m.folder {
		return errNoSpool
	}
	used := e.bytes
	for _, x := range m.writing {
		if x.at == onDisk {
			used += x.bytes
		}
	}
	if used > m.spoolBytes {
		return fmt.Errorf("%d bytes are more than the %d that may wait there", used, m.spoolBytes)
	}
	return nil
}

// makeRoom gives up the oldest share that waits on disk; the best, which is what may be left of them, goes last.
func (m *machine) makeRoom() bool {
	i := slices.IndexFunc(m.writing, func(e *entry) bool { return e.at == onDisk })
	if i < 0 || !m.folder {
		return false
	}
	m.giveUp(m.writing[i], "local disk has no room for it")
	return true
}

// stick leaves a share in memory.
func (m *machine) stick(e *entry, err error) {
	e.stuck, m.changed = true, true
	m.do(logLine{number: e.number, warning: true, err: err, text: "a checkpoint cannot wait on local disk; it waits in memory, unless a newer one needs the room"})
}

// spooled: a share is on disk, or is not.
func (m *machine) spooled(number int64, err error) {
	e := find(m.writing, number)
	if e == nil { // given up meanwhile
		m.do(dropShare{number}, forgetEntry{number})
		return
	}
	e.used = false
	switch {
	case err == nil:
		e.at, m.changed = onDisk, true
	case !m.makeRoom(): // else it is tried again
		m.stick(e, err)
	}
}

// uploaded: a share is in the store, or is not.
func (m *machine) uploaded(number int64, err error) {
	e := find(m.writing, number)
	switch {
	case e == nil: // given up meanwhile
		m.do(dropShare{number}, forgetEntry{number})
		m.round.moved = true
	case m.outage(err):
		e.used = false
	default:
		e.used = false
		m.stored(e, err)
		m.changed, m.round.moved = true, true
	}
	m.lookAll()
}

func (m *machine) stored(e *entry, err error) {
	m.writing = without(m.writing, e)
	if e.at == inMemory && e.bytes > queueBytes && err == nil {
		m.do(reuseMemory{e.number})
	}
	e.at = inStore
	m.do(dropShare{e.number})
	if err != nil || e.rank != 0 {
		m.end(e, err)
		m.do(forgetEntry{e.number})
		return
	}
	m.pending = append(m.pending, e)
	if len(m.pending) > maxPending {
		m.giveUp(m.pending[0], "too many wait for the parts of other ranks")
	}
}

func (m *machine) lookAll() {
	m.round.stage, m.round.look = stageLook, slices.Clone(m.pending)
}

// looked: of a pending one parts are missing, or none, or that could not be found out. The newest is looked for first: the parts of those
// before it came earlier, so that none is passed over whose last part comes meanwhile.
func (m *machine) looked(missing int, err error) {
	r := &m.round
	e := r.look[len(r.look)-1]
	r.look = r.look[:len(r.look)-1]
	switch {
	case err != nil || missing == 0:
		r.found = slices.Insert(r.found, 0, e)
	case !m.full: // one that is full can be read
		m.outage(nil)
	}
}

// committed: a checkpoint is made of all parts, or is not.
func (m *machine) committed(missing int, err error, now time.Time) {
	r := &m.round
	switch {
	case m.outage(err):
		r.stage = stageTell
	case err == nil && missing > 0:
		r.found = r.found[1:]
	case err != nil:
		m.settle(err, now)
	default:
		r.stage = stageReport
	}
}

// reported: the coordinator knows of a checkpoint, or does not.
func (m *machine) reported(err error, now time.Time) {
	m.round.stage = stageCommit
	m.settle(err, now)
}

// settle ends an entry that rank 0 committed, or could not. No older one can be complete later: each rank writes its shares in their
// order.
func (m *machine) settle(err error, now time.Time) {
	r := &m.round
	e := r.found[0]
	r.found, r.moved = r.found[1:], true
	if !slices.Contains(m.pending, e) {
		return
	}
	m.pending = without(m.pending, e)
	if errors.Is(err, ErrStale) && !m.current(e) {
		err = fmt.Errorf("%w: its generation is over", errGivenUp)
	}
	m.end(e, err)
	if err == nil {
		m.stats.Committed++
		m.pace(e, now.Sub(e.begin))
		for _, old := range slices.Clone(m.pending) {
			if old.number < e.number {
				m.giveUp(old, "a newer one is committed")
			}
		}
	}
	m.do(forgetEntry{e.number})
	m.changed = true
}

// pace says, when that changes, whether checkpoints are faster than their interval.
func (m *machine) pace(e *entry, took time.Duration) {
	switch {
	case e.overtook > 0 && !m.slow:
		large := e.bytes > queueBytes // of small ones the newest and the best are kept all the same
		m.do(logLine{number: e.number, warning: large, took: took, limit: e.overtook,
			text: "checkpoints take longer than their interval, and some are left out: raise checkpoint.every_steps or evaluate.every_steps"})
		if large {
			m.round.tells = append(m.round.tells, tellTask{true, fmt.Sprintf("a checkpoint of %d MB took %v, the next was due after %v: some are left out; raise checkpoint.every_steps or evaluate.every_steps, or give the store more speed",
				e.bytes/1e6, took.Round(time.Millisecond), e.overtook.Round(time.Millisecond))})
		}
	case e.overtook == 0 && m.slow:
		m.do(logLine{number: e.number, took: took, text: "checkpoints are faster than their interval again"})
	}
	m.slow = e.overtook > 0
}

// tellOutage tells people of an outage that a second look confirmed, and of its end.
func (m *machine) tellOutage() {
	what, advice := "", ""
	switch {
	case m.full:
		what, advice = "is full", "free some space there, or raise its quota"
	case m.away:
		what, advice = "does not serve", "look whether it is up, and whether this node reaches it"
	}
	known := m.rank != 0 || m.told == what
	m.told = what
	switch {
	case known:
	case what != "":
		m.round.tells = append(m.round.tells, tellTask{true, "the store " + what + ": the newest and the best checkpoint wait on the node's disk until that has changed, " +
			"and what trains goes on; " + advice + " (" + m.awayFor + ")"})
	default:
		m.round.tells = append(m.round.tells, tellTask{false, "the store serves again; the checkpoints that waited go there now"})
	}
}
