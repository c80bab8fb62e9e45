package search

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded curves at four shares each; the last is where it ended.
func recorded(values ...[]float64) []Curve {
	var curves []Curve
	for i, v := range values {
		c := Curve{Trial: 10 * (i + 1), Point: Point{"x": float64(i) / 10}}
		for k := range v {
			c.Samples = append(c.Samples, Sample{float64(k+1) / 4, v[k]})
		}
		curves = append(curves, c)
	}
	return curves
}

func TestReplay(t *testing.T) {
	space := Space{"x": {Double: []float64{0, 1}}}
	asha := Config{Space: space, Method: Method{Name: ASHA, Divisor: 2, Rungs: 3}}
	for name, tt := range map[string]struct {
		cfg    Config
		curves []Curve
		want   Result
	}{
		// One slot, milestones 0.25, 0.5 and 1. 10 and 20 begin; 10 goes on to 0.5; 30 begins, and is better: it goes on to 0.5 and, the better of
		// two, to 1; 40 begins, and the best two of four have gone on.
		"the winner is found": {asha, recorded([]float64{5, 4, 4, 4}, []float64{6, 5, 5, 5}, []float64{4, 3, 2, 1}, []float64{9, 9, 9, 9}), Result{
			Trained: 0.5 + 0.25 + 1 + 0.25, Recorded: 4, Time: 2, Best: Best{30, 1}, BestRecorded: Best{30, 1},
			Stopped: []int{10, 20, 40},
			Course:  []Improvement{{0.25, 0.25, 5}, {0.75, 0.75, 4}, {1.25, 1.25, 3}, {1.5, 1.5, 2}, {1.75, 1.75, 1}},
		}},
		// 10 would have been the best, but is the last of four at 0.25. 20 and later 40 go on to 0.5.
		"a late winner is missed": {asha, recorded([]float64{9, 9, 9, 0}, []float64{6, 5, 5, 5}, []float64{4, 3, 2, 1}, []float64{5, 5, 5, 5}), Result{
			Trained: 2.25, Recorded: 4, Time: 2.25, Best: Best{30, 1}, BestRecorded: Best{10, 0}, Missed: true,
			Stopped: []int{10, 20, 40},
		}},
		"beyond what was recorded": {Config{Space: space, Method: Method{Name: Random}, Mode: Max}, recorded([]float64{1, 2}, []float64{1, 2, 3, math.NaN()}), Result{
			Trained: 1.5, Recorded: 1.5, Time: 1.5, Best: Best{20, 3}, BestRecorded: Best{20, 3}, Unknown: []int{10},
		}},
		"nothing was measured": {Config{Space: space, Method: Method{Name: TPE}}, recorded(nil, nil), Result{Unknown: []int{10, 20}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Replay(tt.cfg, tt.curves, 1)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.Course == nil {
				got.Course = nil
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	// Slots shorten the time, and training to the end costs what was recorded.
	curves := recorded([]float64{1, 1, 1, 1}, []float64{1, 1, 1, 1}, []float64{1, 1, 1, 1}, []float64{1, 1, 1, 1})
	r, err := Replay(Config{Space: space, Method: Method{Name: Sobol}}, curves, 2)
	if err != nil || r.Time != 2 || r.Trained != 4 || r.Recorded != 4 {
		t.Errorf("four trainings on two slots: %+v, %v", r, err)
	}
	if _, err := Replay(Config{Space: space, Method: Method{Name: PBT}}, curves, 2); err == nil {
		t.Error("pbt was replayed")
	}
	curves[2].Point = Point{"y": 1.0}
	if _, err := Replay(asha, curves, 2); err == nil {
		t.Error("a point of another space was replayed")
	}
	if _, err := Replay(asha, nil, 2); err == nil {
		t.Error("nothing was replayed")
	}
}
