package sim

import (
	"slices"
	"time"

	"tandem.dev/scheduler"
)

// slotTime is slots times nanoseconds.
type slotTime int64

func over(slots int, d time.Duration) slotTime { return slotTime(slots) * slotTime(d) }

// job is a Job and how far it is.
type job struct {
	Job
	least int                   // slots that it goes on with
	limit time.Duration         // it takes at most, as its user says, once it has started
	slots []scheduler.Placement // that it holds, those it got last at the end
	state jobState

	total  slotTime      // that it has to do
	done   slotTime      // of it
	saved  slotTime      // of that, in its last checkpoint
	lost   float64       // slot-seconds that it had to do again, or did in vain
	since  time.Duration // up to when done counts; in the future while it begins
	saveAt time.Duration // of its next checkpoint

	first, began, ended time.Duration // when it began first and last, and ended
	onLoan              bool          // it got its slots ahead of its turn
	inVain              bool          // it ended at its limit, with its work not done
	starts              int
	resizes             int
	parks               int
}

type jobState int

const (
	ahead jobState = iota // it has not arrived yet
	waiting
	running
	finished
)

// advance lets it do what it gets done until t, with a checkpoint every so often.
func (j *job) advance(t, every time.Duration) {
	if last := j.saveAt + (t-j.saveAt)/every*every; t >= j.saveAt {
		j.work(last)
		j.saved, j.saveAt = j.done, last+every
	}
	j.work(t)
}

func (j *job) work(t time.Duration) {
	if t > j.since {
		j.done = min(j.total, j.done+over(len(j.slots), t-j.since))
		j.since = t
	}
}

// unsaved is how long ago its last checkpoint was.
func (j *job) unsaved() time.Duration {
	if len(j.slots) == 0 {
		return 0
	}
	return time.Duration(j.done-j.saved) / time.Duration(len(j.slots))
}

// ends is when it has done its work if nothing changes.
func (j *job) ends() time.Duration {
	n := slotTime(len(j.slots))
	return j.since + time.Duration((j.total-j.done+n-1)/n)
}

// begin has it run on slots, from ready on.
func (j *job) begin(at []scheduler.Placement, now, ready, every time.Duration) {
	if j.starts == 0 {
		j.first = now
	}
	j.state, j.slots, j.began, j.since, j.saveAt = running, at, now, ready, ready+every
	j.starts++
}

// killed is when it ends at its limit.
func (j *job) killed(cfg Config) time.Duration { return j.began + cfg.Start + j.limit }

// end ends it, with its work done or in vain.
func (j *job) end(now time.Duration, done bool) {
	if !done {
		j.lost += j.done.seconds()
		j.done, j.inVain = 0, true
	}
	j.state, j.slots, j.ended = finished, nil, now
}

// resize gives it other slots, at a step boundary.
func (j *job) resize(slots []scheduler.Placement) {
	j.slots = slots
	j.resizes++
}

// stop has it wait again. What it has done since its last checkpoint is lost unless somebody keeps the state.
func (j *job) stop(kept bool) {
	if !kept {
		j.lost += (j.done - j.saved).seconds()
		j.done = j.saved
	}
	j.state, j.slots, j.saved = waiting, nil, j.done
}

// lose takes the ranks away that were on a node.
func (j *job) lose(node string, rigid bool) {
	left := slices.DeleteFunc(slices.Clone(j.slots), func(at scheduler.Placement) bool { return at.Node == node })
	switch {
	case len(left) == len(j.slots):
	case len(left) >= j.least && !rigid:
		j.resize(left)
	default:
		j.stop(len(left) > 0 && !rigid)
	}
}
