package sim

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// Class is the jobs of a size.
type Class struct {
	// From and To are the slots that its jobs want; To 0: any number from From on.
	From, To int
	// Jobs, and of those Ended.
	Jobs, Ended int
	// MeanSlowdown and Slowdown95, the 95th percentile, are of the jobs that ended.
	MeanSlowdown, Slowdown95 float64
	// MeanTurnaround of the same.
	MeanTurnaround time.Duration
}

// Name of a class, such as "2-7".
func (c Class) Name() string {
	switch c.To {
	case c.From:
		return strconv.Itoa(c.From)
	case 0:
		return strconv.Itoa(c.From) + "+"
	}
	return strconv.Itoa(c.From) + "-" + strconv.Itoa(c.To)
}

// shortWork is what work counts for at least in a slowdown: without it a job of a second that waits a minute would outweigh all others.
const shortWork = 10 * time.Second

// bounded is the slowdown of a job as Feitelson bounds it (2001): how many times as long as its work it took from its arrival to its end,
// where both count for at least shortWork.
func bounded(turnaround, work time.Duration) float64 {
	return max(1, float64(turnaround)/float64(max(work, shortWork)))
}

// classes says how the jobs of each size fared.
func (s *simulation) classes(outcomes []Outcome) []Class {
	all := []Class{{From: 1, To: 1}, {From: 2, To: 7}, {From: 8, To: 31}, {From: 32}}
	slowdowns, turnarounds := make([][]float64, len(all)), make([][]time.Duration, len(all))
	for i, j := range s.jobs {
		at := len(all) - 1
		for all[at].From > j.Job.Slots {
			at--
		}
		all[at].Jobs++
		if outcomes[i].Ended {
			all[at].Ended++
			slowdowns[at] = append(slowdowns[at], outcomes[i].Slowdown)
			turnarounds[at] = append(turnarounds[at], outcomes[i].Turnaround)
		}
	}
	for i := range all {
		for _, d := range slowdowns[i] {
			all[i].MeanSlowdown += d / float64(len(slowdowns[i]))
		}
		all[i].Slowdown95, all[i].MeanTurnaround = quantile(slowdowns[i], 95), mean(turnarounds[i])
	}
	return slices.DeleteFunc(all, func(c Class) bool { return c.Jobs == 0 })
}

// fairness is Jain's index (Jain, Chiu and Hawe 1984) over what the users got: the slot-time that a user's jobs have work for, over the
// slots that they want times the time from their arrival to their end. That is 1 where no job waits, and 0 where none ends.
func (s *simulation) fairness() (users int, index float64) {
	type share struct{ work, time float64 }
	got := map[string]share{}
	for _, j := range s.jobs {
		u := got[j.User]
		if j.state == finished && !j.inVain {
			u.work += float64(j.total)
			u.time += float64(j.Job.Slots) * float64(j.ended-j.At)
		}
		got[j.User] = u
	}
	sum, squares := 0.0, 0.0
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if u := got[name]; u.time > 0 {
			x := u.work / u.time
			sum, squares = sum+x, squares+x*x
		}
	}
	if squares == 0 {
		return len(got), 0
	}
	return len(got), sum * sum / (float64(len(got)) * squares)
}
