package picture

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"gonum.org/v1/plot"
)

// texts draws a sweep both ways and returns the texts of each; what is no XML fails the test.
func texts(t *testing.T, s Sweep) [2]string {
	t.Helper()
	var out [2]string
	for i, draw := range []func(io.Writer) error{s.SVG, s.HTML} {
		var b strings.Builder
		if err := draw(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Error("a place that is not a number")
		}
		d := xml.NewDecoder(strings.NewReader(b.String()))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if text, ok := token.(xml.CharData); ok {
				out[i] += string(text) + "\n"
			}
		}
	}
	return out
}

func trial(n int, best float64) Trial {
	return Trial{Number: n, State: "completed", Measured: true, Best: best, Curve: []Point{{100, best}}, Values: []Value{{At: 0.5, Text: "x"}}}
}

func TestLittleToDraw(t *testing.T) {
	axes := []Axis{{Name: "lr"}}
	for name, s := range map[string]Sweep{
		"nothing":       {Metric: "loss"},
		"no axes":       {Metric: "loss", Trials: []Trial{{Number: 1, Measured: true, Best: 1}}},
		"not measured":  {Metric: "loss", Axes: axes, Trials: []Trial{{Number: 1, Values: []Value{{Absent: true}}}}},
		"one":           {Metric: "loss", Axes: axes, Trials: []Trial{trial(1, 0.5)}},
		"all the same":  {Metric: "loss", Axes: axes, Trials: []Trial{trial(1, 0.5), trial(2, 0.5)}},
		"zero":          {Metric: "loss", Axes: axes, Trials: []Trial{trial(1, 0), trial(2, 1e9)}},
		"no importance": {Metric: "loss", Axes: axes, Trials: []Trial{trial(1, 1)}, Importance: []Bar{{"lr", 0}}},
	} {
		for _, text := range texts(t, s) {
			if !strings.Contains(text, "Best so far") {
				t.Errorf("%s: no figures", name)
			}
		}
	}
}

// TestOneDiverged: one value that is out of all proportion leaves the others to be told apart, where lower is better and where higher is.
func TestOneDiverged(t *testing.T) {
	for _, higher := range []bool{false, true} {
		s := Sweep{Metric: "loss", Max: higher, Axes: []Axis{{Name: "lr"}}}
		for n := 1; n <= 8; n++ {
			s.Trials = append(s.Trials, trial(n, 0.1*float64(n)))
		}
		far, says := 1e6, "≥ 0.7"
		if higher {
			far, says = -1e6, "≤ 0.2"
		}
		s.Trials = append(s.Trials, trial(9, far))
		if text := texts(t, s)[0]; !strings.Contains(text, says) {
			t.Errorf("the axis of values does not say %q:\n%s", says, text)
		}
		ranked := s.ranked()
		if sc := s.scale(ranked); math.Abs(sc.place(0.5)-0.55) > 0.15 || ranked[8].Number != 9 {
			t.Errorf("0.5 is drawn at %v", sc.place(0.5))
		}
	}
}

func TestManyAreThinned(t *testing.T) {
	var all []Trial
	for n := range 10_000 {
		all = append(all, trial(n+1, float64(n)))
	}
	some := drawn(all)
	if len(some) != bestDrawn+othersDrawn || some[0].Number != 1 || some[bestDrawn-1].Number != bestDrawn || some[len(some)-1].Number < 9_900 {
		t.Errorf("%d of them, the last is %d", len(some), some[len(some)-1].Number)
	}
}

func TestShades(t *testing.T) {
	if shade(0) != viridis[0] || shade(1) != viridis[8] || shade(2) != viridis[8] || shade(0.5) != viridis[4] {
		t.Error("ends and middle are not those of the palette")
	}
}

// TestCrop: what few first evaluations have does not take the room of all others, whichever way is better; values that are spread do.
func TestCrop(t *testing.T) {
	squeezed, spread := []float64{0.1, 0.2}, []float64{}
	for n := range 30 {
		squeezed, spread = append(squeezed, 0.9+0.003*float64(n)), append(spread, 0.03*float64(n))
	}
	var below, above, all plot.Axis
	if !(Sweep{Max: true}).crop(&below, squeezed) || below.Min != 0.903 {
		t.Errorf("the axis begins at %v", below.Min)
	}
	for i := range squeezed {
		squeezed[i] = 1 - squeezed[i]
	}
	if !(Sweep{}).crop(&above, squeezed) || math.Abs(above.Max-0.097) > 1e-9 {
		t.Errorf("the axis ends at %v", above.Max)
	}
	for _, values := range [][]float64{spread, {1}, {}} {
		if (Sweep{Max: true}).crop(&all, values) || (Sweep{}).crop(&all, values) {
			t.Errorf("%v is cut", values)
		}
	}
}
