package search

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "accept the decisions as they are")

// TestScenarios plays testdata/*.txt: settings, then events, each followed by what was decided (lines that begin with a blank).
//
//	set KEY VALUE                     a setting of the config or the method
//	space NAME JSON                   a hyper-parameter: {"Log":[0.1,1]}
//	prior SHARE VALUE JSON            a point that an earlier search measured
//	begin | extend N | exhaust REASON
//	measure TRIAL SHARE VALUE | end TRIAL OUTCOME
//	train TRIAL VALUE                 measured at the share it is to stop at, and ended there
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &play{t: t, cfg: Config{Space: Space{}}, until: map[int]float64{}}
			for line := range strings.Lines(string(text)) {
				if strings.HasPrefix(line, " ") {
					continue
				}
				p.out.WriteString(line)
				if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
					p.line(line, f)
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(p.out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), p.out.String()); diff != "" {
				t.Errorf("decisions (-want +got):\n%s", diff)
			}
		})
	}
}

// play is a scenario as far as it was read.
type play struct {
	t      *testing.T
	cfg    Config
	search *Searcher
	until  map[int]float64
	out    strings.Builder
}

func (p *play) line(line string, f []string) {
	rest := func(n int) string { return strings.TrimSpace(strings.Join(f[n:], " ")) }
	switch f[0] {
	case "set":
		p.set(f[1], f[2])
	case "space":
		var d Domain
		p.must(json.Unmarshal([]byte(rest(2)), &d))
		p.cfg.Space[f[1]] = d
	case "prior":
		var point Point
		p.must(json.Unmarshal([]byte(rest(3)), &point))
		p.cfg.Prior = append(p.cfg.Prior, Prior{Point: point, Share: p.number(f[1]), Value: p.number(f[2])})
	case "begin":
		s, err := New(p.cfg)
		p.must(err)
		p.search = s
		p.step(Event{Begun: true})
	case "extend":
		p.step(Event{Extended: &Extended{int(p.number(f[1]))}})
	case "exhaust":
		p.step(Event{Exhausted: &Exhausted{rest(1)}})
	case "measure":
		p.step(Event{Measured: &Measured{int(p.number(f[1])), p.number(f[2]), p.number(f[3])}})
	case "end":
		p.step(Event{Ended: &Ended{int(p.number(f[1])), Outcome(f[2])}})
	case "train":
		n := int(p.number(f[1]))
		p.step(Event{Measured: &Measured{n, p.until[n], p.number(f[2])}})
		o := Reached
		if p.until[n] >= 1 {
			o = Completed
		}
		p.step(Event{Ended: &Ended{n, o}})
	default:
		p.t.Fatalf("line %q is not understood", line)
	}
}

func (p *play) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *play) number(s string) float64 {
	p.t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	p.must(err)
	return v
}

func (p *play) set(key, value string) {
	c, m := &p.cfg, &p.cfg.Method
	texts := map[string]*string{"method": &m.Name, "sampler": &m.Sampler, "stop": &m.Stop, "variant": &m.Variant, "mode": (*string)(&c.Mode)}
	numbers := map[string]*int{"divisor": &m.Divisor, "rungs": &m.Rungs, "startup_trials": &m.StartupTrials, "population": &m.Population,
		"intervals": &m.Intervals, "max_trials": &c.MaxTrials, "max_concurrent": &c.MaxConcurrent, "max_failed": &c.MaxFailed}
	shares := map[string]*float64{"grace": &m.Grace, "quantile": &m.Quantile}
	switch {
	case texts[key] != nil:
		*texts[key] = value
	case numbers[key] != nil:
		*numbers[key] = int(p.number(value))
	case shares[key] != nil:
		*shares[key] = p.number(value)
	case key == "seed":
		c.Seed = int64(p.number(value))
	default:
		p.t.Fatalf("there is no setting %q", key)
	}
}

func (p *play) step(e Event) {
	for _, d := range p.search.Step(e) {
		switch {
		case d.Create != nil:
			c := d.Create
			p.until[c.Trial] = c.Until
			from := ""
			if c.From > 0 {
				from = fmt.Sprintf(" from %d", c.From)
			}
			fmt.Fprintf(&p.out, "  create %d%s %s until %.4g: %s\n", c.Trial, from, show(c.Point), c.Until, d.Reason)
		case d.Continue != nil:
			p.until[d.Continue.Trial] = d.Continue.Until
			fmt.Fprintf(&p.out, "  continue %d until %.4g: %s\n", d.Continue.Trial, d.Continue.Until, d.Reason)
		case d.Stop != nil:
			fmt.Fprintf(&p.out, "  stop %d: %s\n", d.Stop.Trial, d.Reason)
		case d.Finish:
			fmt.Fprintf(&p.out, "  finish: %s\n", d.Reason)
		}
	}
}

func show(p Point) string {
	var parts []string
	for name, v := range p {
		if f, ok := v.(float64); ok {
			v = fmt.Sprintf("%.3g", f)
		}
		parts = append(parts, fmt.Sprintf("%s=%v", name, v))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, " ") + "}"
}
