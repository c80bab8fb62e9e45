package search

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScenarios runs testdata/*.txt: what happens, and what is decided then (go test -rewrite accepts what comes out).
//
//	begin KEY=VALUE...                with settings of the config and the method, and these lines:
//	  space NAME JSON                 a hyper-parameter: {"Log":[0.1,1]}
//	  prior SHARE VALUE JSON          a point that an earlier search measured
//	extend N | exhaust                the reason is on the next line
//	measure TRIAL SHARE VALUE | end TRIAL OUTCOME
//	train TRIAL VALUE                 measured at the share it is to stop at, and ended there
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		p := &play{t: t, cfg: Config{Space: Space{}}, until: map[int]float64{}}
		datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string {
			p.out.Reset()
			p.happen(d)
			return p.out.String()
		})
	})
}

// play is a scenario as far as it was read.
type play struct {
	t      *testing.T
	cfg    Config
	search *Searcher
	until  map[int]float64
	out    strings.Builder
}

func (p *play) happen(d *datadriven.TestData) {
	number := func(i int) float64 { return p.number(d.CmdArgs[i].Key) }
	trial := func() int { return int(number(0)) }
	switch d.Cmd {
	case "begin":
		for _, a := range d.CmdArgs {
			p.set(a.Key, a.SingleVal(p.t))
		}
		for line := range strings.Lines(d.Input) {
			p.point(line)
		}
		s, err := New(p.cfg)
		p.must(err)
		p.search = s
		p.step(Event{Begun: true})
	case "extend":
		p.step(Event{Extended: &Extended{int(number(0))}})
	case "exhaust":
		p.step(Event{Exhausted: &Exhausted{d.Input}})
	case "measure":
		p.step(Event{Measured: &Measured{trial(), number(1), number(2)}})
	case "end":
		p.step(Event{Ended: &Ended{trial(), Outcome(d.CmdArgs[1].Key)}})
	case "train":
		p.step(Event{Measured: &Measured{trial(), p.until[trial()], number(1)}})
		o := Reached
		if p.until[trial()] >= 1 {
			o = Completed
		}
		p.step(Event{Ended: &Ended{trial(), o}})
	default:
		d.Fatalf(p.t, "unknown command %q", d.Cmd)
	}
}

// point reads a hyper-parameter of the space, or a point of an earlier search.
func (p *play) point(line string) {
	f := strings.Fields(line)
	switch f[0] {
	case "space":
		var d Domain
		p.must(json.Unmarshal([]byte(strings.Join(f[2:], " ")), &d))
		p.cfg.Space[f[1]] = d
	case "prior":
		var point Point
		p.must(json.Unmarshal([]byte(strings.Join(f[3:], " ")), &point))
		p.cfg.Prior = append(p.cfg.Prior, Prior{Point: point, Share: p.number(f[1]), Value: p.number(f[2])})
	default:
		p.t.Fatalf("line %q: neither space nor prior", line)
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
			fmt.Fprintf(&p.out, "create %d%s %s until %.4g: %s\n", c.Trial, from, show(c.Point), c.Until, d.Reason)
		case d.Continue != nil:
			p.until[d.Continue.Trial] = d.Continue.Until
			fmt.Fprintf(&p.out, "continue %d until %.4g: %s\n", d.Continue.Trial, d.Continue.Until, d.Reason)
		case d.Stop != nil:
			fmt.Fprintf(&p.out, "stop %d: %s\n", d.Stop.Trial, d.Reason)
		case d.Finish:
			fmt.Fprintf(&p.out, "finish: %s\n", d.Reason)
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
