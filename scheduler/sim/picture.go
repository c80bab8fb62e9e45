package sim

import (
	"fmt"
	"strings"
	"time"
)

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
	end := r.Summary.Makespan.Round(time.Second).String()
	return fmt.Sprintf("%-*s  slots in use\n%s\n%-*s  jobs that wait\n%s\n%-*s%s\n",
		width, "0 to 100 %", bars(used), width, label, bars(waiting), max(1, columns-len(end)), "0", end)
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
