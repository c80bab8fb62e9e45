package main

import (
	"slices"
	"strings"

	"tandem.dev/cmd/tandem/picture"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// pictureOf is a sweep as it is drawn.
func pictureOf(
	s *tandemv1.GetSweepResponse, trials []*tandemv1.Trial, curves []*tandemv1.Curve, importance []*tandemv1.Importance,
) picture.Sweep {
	j := s.GetJob()
	out := picture.Sweep{
		Title: "Sweep " + j.GetName() + " (" + j.GetId() + ")", Metric: j.GetSpec().GetMetric(), Max: j.GetSpec().GetMode() == "max",
		Facts: [][2]string{
			{"State", strings.TrimSuffix(plain.Word(j.GetState())+": "+j.GetReason(), ": ")},
			{"Method", methodName(j.GetSpec().GetSearch().GetMethod())},
			{"Trials", trialCounts(s.GetSweep().GetTrials())},
			{"Best", bestOfSweep(s)},
		},
	}
	places := placesOf(j)
	names := shortNames(places)
	axes := make([]picture.Domain, len(places))
	for i, place := range places {
		axes[i] = picture.DomainOf(j.GetSpec().GetSearch().GetSpace()[place], plainText)
		name := names[i]
		if axes[i].Logarithmic {
			name += " (log)"
		}
		out.Axes = append(out.Axes, picture.Axis{Name: name, Ticks: axes[i].Ticks()})
	}
	measured := make(map[int32]*tandemv1.Curve, len(curves))
	for _, c := range curves {
		measured[c.GetTrial()] = c
	}
	for _, t := range trials {
		f := picture.Trial{
			Number: int(t.GetNumber()), State: plain.Word(t.GetState()), Share: trainedShare(t, state.StepOf(t)), Reason: t.GetReason(),
		}
		curve, ok := measured[t.GetNumber()]
		f.Best, f.Measured = curve.GetBestValue(), ok
		for _, p := range curve.GetPoints() {
			f.Curve = append(f.Curve, picture.Point{X: 100 * p.GetShare(), Y: p.GetValue()})
		}
		point := t.GetParameters().AsMap()
		for i, place := range places {
			v, ok := point[place]
			if !ok {
				f.Values = append(f.Values, picture.Value{Absent: true})
				continue
			}
			f.Values = append(f.Values, picture.Value{At: axes[i].At(v), Text: pointValue(point, place)})
		}
		out.Trials = append(out.Trials, f)
	}
	for _, i := range importance {
		if at := slices.Index(places, i.GetParameter()); at >= 0 {
			out.Importance = append(out.Importance, picture.Bar{Name: names[at], Share: i.GetShare()})
		}
	}
	return out
}
