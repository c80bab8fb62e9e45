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
func pictureOf(s *tandemv1.GetSweepResponse, trials []*tandemv1.Trial, importance []*tandemv1.Importance) picture.Sweep {
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
	for _, t := range trials {
		f := picture.Trial{
			Number: int(t.GetNumber()), State: plain.Word(t.GetState()), Share: trainedShare(t, state.StepOf(t)), Reason: t.GetReason(),
		}
		f.Best, _, f.Measured = bestOf(j.GetSpec(), t)
		for _, e := range t.GetEvaluations() {
			v, ok := state.ValueOf(j.GetSpec(), e)
			if share, known := state.ShareOf(t, e.GetStep()); ok && known {
				f.Curve = append(f.Curve, picture.Point{X: 100 * share, Y: v})
			}
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
