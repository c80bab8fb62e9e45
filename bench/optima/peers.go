package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strconv"

	"github.com/c-bata/goptuna"
	"github.com/c-bata/goptuna/cmaes"
	"github.com/c-bata/goptuna/tpe"

	"tandem.dev/scheduler/search"
	"tandem.dev/scheduler/search/searchtest"
)

// python is Debian's, for its python3-scipy.
const python = "/usr/bin/python3"

// peers are goptuna's samplers and SciPy's optimizers, one evaluation at a time, as many evaluations as the budget has whole trainings.
func peers(ctx context.Context, p searchtest.Problem, seeds int) ([]Row, error) {
	var rows []Row
	for name, options := range map[string]func(seed int64) []goptuna.StudyOption{
		"goptuna tpe": func(seed int64) []goptuna.StudyOption {
			return []goptuna.StudyOption{goptuna.StudyOptionSampler(tpe.NewSampler(tpe.SamplerOptionSeed(seed)))}
		},
		"goptuna cmaes": func(seed int64) []goptuna.StudyOption {
			return []goptuna.StudyOption{goptuna.StudyOptionRelativeSampler(cmaes.NewSampler(cmaes.SamplerOptionSeed(seed))),
				goptuna.StudyOptionSampler(goptuna.NewRandomSampler(goptuna.RandomSamplerOptionSeed(seed)))}
		},
	} {
		found := make([]float64, seeds)
		for i := range found {
			var err error
			if found[i], err = study(p, options(int64(i+1))); err != nil {
				return nil, fmt.Errorf("%s on %s: %w", name, p.Name, err)
			}
		}
		rows = append(rows, Row{Problem: p.Name, Method: name, Median: median(found)})
	}
	slices.SortFunc(rows, func(a, b Row) int { return bytes.Compare([]byte(b.Method), []byte(a.Method)) })

	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, python, "bench/peers/search.py", p.Name, strconv.Itoa(seeds), strconv.Itoa(int(budget(p))))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run bench/peers/search.py (it needs python3-scipy: apt-get install python3-scipy): %w: %s", err,
			bytes.TrimSpace(stderr.Bytes()))
	}
	var found map[string][]float64
	if err := json.Unmarshal(stdout.Bytes(), &found); err != nil {
		return nil, fmt.Errorf("read what bench/peers/search.py printed: %w", err)
	}
	for _, name := range []string{"differential_evolution", "dual_annealing"} {
		for i := range found[name] {
			found[name][i] -= p.Optimum
		}
		rows = append(rows, Row{Problem: p.Name, Method: "scipy " + name, Median: median(found[name])})
	}
	return rows, nil
}

// study lets goptuna search and returns how far from the optimum its best is: of the values at the end, or for a table of all values on the way.
func study(p searchtest.Problem, options []goptuna.StudyOption) (float64, error) {
	// The space is told, since finding it out from the trials panics where there are choices.
	s, err := goptuna.CreateStudy(p.Name, append(options, goptuna.StudyOptionLogger(nil),
		goptuna.StudyOptionDefineSearchSpace(distributions(p.Space)))...)
	if err != nil {
		return 0, err
	}
	best := math.Inf(1)
	err = s.Optimize(func(t goptuna.Trial) (float64, error) {
		point, err := suggest(t, p.Space)
		if err != nil {
			return 0, err
		}
		for i := range p.Evaluations {
			if p.Table {
				best = min(best, p.Value(point, float64(i+1)/float64(p.Evaluations)))
			}
		}
		v := p.Value(point, 1)
		best = min(best, v)
		return v, nil
	}, int(budget(p)))
	return best - p.Optimum, err
}

// distributions of a space in goptuna's words.
func distributions(space search.Space) map[string]any {
	all := map[string]any{}
	for name, d := range space {
		switch {
		case d.Double != nil:
			all[name] = goptuna.UniformDistribution{Low: d.Double[0], High: d.Double[1]}
		case d.Log != nil:
			all[name] = goptuna.LogUniformDistribution{Low: d.Log[0], High: d.Log[1]}
		default:
			all[name] = goptuna.CategoricalDistribution{Choices: texts(d.Choice)}
		}
	}
	return all
}

func texts(values []any) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = fmt.Sprint(v)
	}
	return list
}

// suggest a point of a space as goptuna does.
func suggest(t goptuna.Trial, space search.Space) (search.Point, error) {
	p := search.Point{}
	for name, d := range space {
		var err error
		switch {
		case d.Double != nil:
			p[name], err = t.SuggestFloat(name, d.Double[0], d.Double[1])
		case d.Log != nil:
			p[name], err = t.SuggestLogFloat(name, d.Log[0], d.Log[1])
		default:
			var text string
			text, err = t.SuggestCategorical(name, texts(d.Choice))
			p[name] = d.Choice[max(slices.Index(texts(d.Choice), text), 0)]
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
