package analysis

import (
	"cmp"
	"slices"

	"tandem.dev/storage/metric"
)

// RankTrace is what one rank did in some steps.
type RankTrace struct {
	Rank   int
	Node   string
	Member string
	Spans  []metric.Span // in order of time
}

// ComputeTraces returns what each rank of one generation did in the newest steps that all of them traced, at most this many. When
// they traced no step together it is those that most of them did.
func ComputeTraces(segments []metric.Segment, steps int) []RankTrace {
	ranks := map[int]*RankTrace{}
	traced := map[int64]map[int]bool{} // ranks by step
	for _, s := range segments {
		for _, p := range s.Spans {
			if ranks[s.Rank] == nil {
				ranks[s.Rank] = &RankTrace{Rank: s.Rank, Node: s.Node, Member: s.Member}
			}
			ranks[s.Rank].Spans = append(ranks[s.Rank].Spans, p)
			if p.Of == metric.Checkpoint || p.Of == metric.Evaluate || p.Of == metric.Storage || p.Of == metric.Waiting {
				continue // beside the steps
			}
			if traced[p.Step] == nil {
				traced[p.Step] = map[int]bool{}
			}
			traced[p.Step][s.Rank] = true
		}
	}
	chosen := choose(traced, steps)
	var all []RankTrace
	for _, r := range ranks {
		r.Spans = slices.DeleteFunc(r.Spans, func(p metric.Span) bool { return !chosen[p.Step] })
		if len(r.Spans) == 0 {
			continue
		}
		slices.SortFunc(r.Spans, func(a, b metric.Span) int { return cmp.Compare(a.Begin, b.Begin) })
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b RankTrace) int { return cmp.Compare(a.Rank, b.Rank) })
	return all
}

func choose(traced map[int64]map[int]bool, limit int) map[int64]bool {
	most := 0
	for _, ranks := range traced {
		most = max(most, len(ranks))
	}
	var steps []int64
	for step, ranks := range traced {
		if len(ranks) == most {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	chosen := map[int64]bool{}
	for _, step := range steps[max(0, len(steps)-limit):] {
		chosen[step] = true
	}
	return chosen
}
