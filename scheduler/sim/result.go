package sim

import (
	"fmt"
	"slices"
	"strings"
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
	// Began says whether it ever had slots, Ended whether it was done.
	Began, Ended bool
	// Wait is from its arrival until it began first, Turnaround until it ended.
	Wait, Turnaround time.Duration
	// Starts is how often it began, Resizes how often it got more slots or fewer while it went on, Parks how often it was parked.
	Starts, Resizes, Parks int
	// Lost is what it had to do again, in slot-seconds.
	Lost float64
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
	Jobs, Ended int
	// Makespan is when the last job ended.
	Makespan time.Duration
	// Of the jobs that began, or ended.
	MeanWait, MedianWait, Wait95, MeanTurnaround, Turnaround95 time.Duration
	// Utilisation is the part of all slots' time, until the last job ended, in which jobs got done what lasted.
	Utilisation float64
	// LostHours are slot-hours of work that was done again.
	LostHours float64
	Starts    int
	Resizes   int
	Parks     int
}

// draw notes what holds now.
func (s *simulation) draw() {
	p := Point{At: s.now}
	for _, n := range s.trace.Nodes {
		if s.down[n.Name] <= s.now {
			p.Slots += n.Slots
		}
	}
	for _, j := range s.jobs {
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
	useful := slotTime(0)
	sum := &r.Summary
	for _, j := range s.jobs {
		o := Outcome{
			Name: j.Name, Began: j.starts > 0, Ended: j.state == finished, Starts: j.starts, Resizes: j.resizes, Parks: j.parks, Lost: j.lost.seconds(),
		}
		if o.Began {
			o.Wait = j.first - j.At
			waits = append(waits, o.Wait)
		}
		if o.Ended {
			o.Turnaround = j.ended - j.At
			turnarounds = append(turnarounds, o.Turnaround)
			sum.Ended++
			sum.Makespan = max(sum.Makespan, j.ended)
		}
		sum.Starts, sum.Resizes, sum.LostHours = sum.Starts+o.Starts, sum.Resizes+o.Resizes, sum.LostHours+o.Lost/3600
		sum.Parks += o.Parks
		useful += j.done
		r.Jobs = append(r.Jobs, o)
	}
	sum.MeanWait, sum.MedianWait, sum.Wait95 = mean(waits), quantile(waits, 50), quantile(waits, 95)
	sum.MeanTurnaround, sum.Turnaround95 = mean(turnarounds), quantile(turnarounds, 95)
	if all := s.capacity(sum.Makespan); all > 0 {
		sum.Utilisation = float64(useful) / all
	}
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
			all += float64(over(p.Slots, end-p.At))
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
func quantile(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}

// Picture is the graph as text, so many columns wide: the part of the slots that is used, and how many jobs wait at most, from left to
// right.
func (r Result) Picture(columns int) string {
	if len(r.Graph) == 0 || r.Summary.Makespan == 0 || columns < 1 {
		return ""
	}
	used, waiting, most := make([]float64, columns), make([]float64, columns), 1.0
	next := 0
	now := r.Graph[0]
	for i := range columns {
		end := time.Duration(float64(r.Summary.Makespan) * float64(i+1) / float64(columns))
		begin := time.Duration(float64(r.Summary.Makespan) * float64(i) / float64(columns))
		for at := begin; at < end; {
			for next < len(r.Graph) && r.Graph[next].At <= at {
				now = r.Graph[next]
				next++
			}
			until := end
			if next < len(r.Graph) {
				until = min(end, r.Graph[next].At)
			}
			if now.Slots > 0 {
				used[i] += float64(now.Used) / float64(now.Slots) * float64(until-at) / float64(end-begin)
			}
			waiting[i] = max(waiting[i], float64(now.Waiting))
			at = until
		}
		most = max(most, waiting[i])
	}
	for i := range waiting {
		waiting[i] /= most
	}
	label := fmt.Sprintf("0 to %d", int(most))
	width := max(len("0 to 100 %"), len(label))
	return fmt.Sprintf("%-*s  slots in use\n%s\n%-*s  jobs that wait\n%s\n%-*s%s\n", width, "0 to 100 %", bars(used), width, label, bars(waiting),
		max(1, columns-len(r.Summary.Makespan.Round(time.Second).String())), "0", r.Summary.Makespan.Round(time.Second))
}

// bars are values from 0 to 1 as blocks of eight heights.
func bars(values []float64) string {
	const blocks = " ▁▂▃▄▅▆▇█"
	all := []rune(blocks)
	var b strings.Builder
	for _, v := range values {
		height := int(v*float64(len(all)-1) + 0.5)
		if v > 0 {
			height = max(1, height)
		}
		b.WriteRune(all[min(height, len(all)-1)])
	}
	return b.String()
}
