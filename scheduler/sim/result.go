package sim

import (
	"cmp"
	"slices"
	"time"
)

// Result is what became of a trace.
type Result struct {
	// Jobs in the order in which they arrived.
	Jobs []Outcome
	// Graph has what held when something happened, in order.
	Graph []Point
	// Summary of all.
	Summary Summary
}

// Outcome is what became of a job.
type Outcome struct {
	Name string
	// Began says whether it ever had slots, Ended whether it was done, Killed whether it ended at its limit instead.
	Began, Ended, Killed bool
	// Wait is from its arrival until it began first, Turnaround until it ended.
	Wait, Turnaround time.Duration
	// Starts is how often it began, Resizes how often it got more slots or fewer while it went on, Parks how often it was parked.
	Starts, Resizes, Parks int
	// Lost is what it had to do again, or did in vain, in slot-seconds.
	Lost float64
	// Slowdown is that of a job that ended: see bounded.
	Slowdown float64
}

// Point is what held from a time on.
type Point struct {
	At time.Duration
	// Used slots of all, of Slots on nodes that are not lost.
	Used, Slots int
	// Waiting jobs.
	Waiting int
}

// Summary is what matters of all jobs together.
type Summary struct {
	Jobs, Ended, Killed int
	// Makespan is when the last job ended.
	Makespan time.Duration
	// Of the jobs that began, or ended.
	MeanWait, MedianWait, Wait95, MeanTurnaround, Turnaround95 time.Duration
	// Utilisation is the part of all slots' time, until the last job ended, in which jobs got done what lasted.
	Utilisation float64
	// LostHours are slot-hours of work that was done again, or in vain.
	LostHours float64
	Starts    int
	Resizes   int
	Parks     int
	// Users there are, and Fairness to them: Jain's index over what they got; 1 is the same for each, 1/Users all for one.
	Users    int
	Fairness float64
	// Classes of jobs, by the slots they want; those without jobs are left out.
	Classes []Class
}

// draw notes what holds now.
func (s *simulation) draw() {
	p := Point{At: s.now}
	for _, n := range s.trace.Nodes {
		if s.down[n.Name] <= s.now {
			p.Slots += n.Slots
		}
	}
	for _, j := range s.active {
		p.Used += len(j.slots)
		if j.state == waiting {
			p.Waiting++
		}
	}
	s.graph = append(s.graph, p)
}

func (s *simulation) result() Result {
	r := Result{Graph: s.graph, Summary: Summary{Jobs: len(s.jobs)}}
	var waits, turnarounds []time.Duration
	useful := 0.0
	sum := &r.Summary
	for _, j := range s.jobs {
		o := Outcome{
			Name: j.Name, Began: j.starts > 0, Ended: j.state == finished && !j.inVain, Killed: j.inVain,
			Starts: j.starts, Resizes: j.resizes, Parks: j.parks, Lost: j.lost,
		}
		if o.Began {
			o.Wait = j.first - j.At
			waits = append(waits, o.Wait)
		}
		if o.Ended {
			o.Turnaround = j.ended - j.At
			o.Slowdown = bounded(o.Turnaround, j.Work)
			turnarounds = append(turnarounds, o.Turnaround)
			sum.Ended++
			sum.Makespan = max(sum.Makespan, j.ended)
		}
		sum.Starts, sum.Resizes, sum.LostHours = sum.Starts+o.Starts, sum.Resizes+o.Resizes, sum.LostHours+o.Lost/3600
		sum.Parks += o.Parks
		if o.Killed {
			sum.Killed++
		}
		useful += float64(j.done)
		r.Jobs = append(r.Jobs, o)
	}
	sum.MeanWait, sum.MedianWait, sum.Wait95 = mean(waits), quantile(waits, 50), quantile(waits, 95)
	sum.MeanTurnaround, sum.Turnaround95 = mean(turnarounds), quantile(turnarounds, 95)
	if all := s.capacity(sum.Makespan); all > 0 {
		sum.Utilisation = useful / all
	}
	sum.Users, sum.Fairness = s.fairness()
	sum.Classes = s.classes(r.Jobs)
	return r
}

// capacity is the time of all slots until then, on nodes that were not lost.
func (s *simulation) capacity(until time.Duration) float64 {
	all := 0.0
	for i, p := range s.graph {
		end := until
		if i+1 < len(s.graph) {
			end = min(until, s.graph[i+1].At)
		}
		if end > p.At {
			all += float64(p.Slots) * float64(end-p.At)
		}
	}
	return all
}

func (t slotTime) seconds() float64 { return float64(t) / float64(time.Second) }

func mean(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sum := 0.0
	for _, d := range all {
		sum += float64(d)
	}
	return time.Duration(sum / float64(len(all)))
}

// quantile is the smallest value that so many percent are not above.
func quantile[T cmp.Ordered](all []T, percent int) T {
	if len(all) == 0 {
		var none T
		return none
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}
