package search

import (
	"math"
	"slices"
	"strings"
)

// Method is a way of searching. What is zero has its default once Config.Complete was called.
type Method struct {
	// Name is random, grid, sobol, tpe, cmaes, asha, hyperband, bohb or pbt.
	Name string
	// Sampler is where asha and hyperband take points from: random, sobol, tpe or cmaes.
	Sampler string
	// Stop is what ends hopeless trials of random, grid, sobol, tpe and cmaes: none, median, median-value or asha.
	Stop string
	// Divisor, of asha, hyperband, bohb and Stop asha: of this many trials one goes on at each rung.
	Divisor int
	// Rungs, of the same: the last is the whole training, the others are each a Divisor-th of the next.
	Rungs int
	// Variant of asha: promote (a trial waits at its rung until it is among the best of it) or stop (it goes on unless it is not).
	Variant string
	// Grace of Stop median and median-value: share of the training before which no trial is ended.
	Grace float64
	// StartupTrials, of tpe, bohb, Stop median and median-value: trials before the method has an opinion.
	StartupTrials int
	// Population of pbt: trials at the same time.
	Population int
	// Intervals of pbt: parts of a training; after each the worst copy the best.
	Intervals int
	// Quantile of pbt: share of the population that copies, and share that is copied.
	Quantile float64
}

// Names of methods, samplers, ways to stop and variants.
const (
	Random    = "random"
	Grid      = "grid"
	Sobol     = "sobol"
	TPE       = "tpe"
	CMAES     = "cmaes"
	ASHA      = "asha"
	Hyperband = "hyperband"
	BOHB      = "bohb"
	PBT       = "pbt"

	StopNone   = "none"
	StopMedian = "median" // Vizier's and Ray's rule, see median
	// StopMedianValue is Optuna's MedianPruner.
	StopMedianValue = "median-value"

	VariantPromote = "promote"
	VariantStop    = "stop"
)

var (
	methods  = []string{Random, Grid, Sobol, TPE, CMAES, ASHA, Hyperband, BOHB, PBT}
	samplers = []string{Random, Sobol, TPE, CMAES}
	stops    = []string{StopNone, StopMedian, StopMedianValue, ASHA}
	variants = []string{VariantPromote, VariantStop}
)

// laddered methods have rungs.
func (m Method) laddered() bool {
	return m.Name == ASHA || m.Name == Hyperband || m.Name == BOHB || m.Stop == ASHA
}

// stoppable methods are samplers that train every trial to the end unless Stop says otherwise.
func (m Method) stoppable() bool { return slices.Contains(methods[:5], m.Name) }

// sampled methods take a sampler.
func (m Method) sampled() bool { return m.Name == ASHA || m.Name == Hyperband }

// medians ends trials that are worse than the median.
func (m Method) medians() bool { return m.Stop == StopMedian || m.Stop == StopMedianValue }

// starting methods wait for trials before they have an opinion.
func (m Method) starting() bool {
	return m.Name == TPE || m.Name == BOHB || m.Sampler == TPE || m.medians()
}

// complete fills in the defaults.
func (m Method) complete() Method {
	fill(&m.Name, ASHA)
	if m.sampled() {
		fill(&m.Sampler, Random)
	}
	if m.stoppable() {
		fill(&m.Stop, StopNone)
	}
	if m.laddered() {
		if m.Name == Hyperband || m.Name == BOHB {
			fill(&m.Divisor, 3)
		}
		fill(&m.Divisor, 4)
		fill(&m.Rungs, defaultRungs(m.Divisor))
	}
	if m.Name == ASHA {
		fill(&m.Variant, VariantPromote)
	}
	if m.medians() {
		fill(&m.Grace, 0.1)
	}
	if m.starting() {
		fill(&m.StartupTrials, 10)
	}
	if m.Name == PBT {
		fill(&m.Population, 8)
		fill(&m.Intervals, 10)
		fill(&m.Quantile, 0.25)
	}
	return m
}

// fill sets what is zero.
func fill[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// defaultRungs are as many as leave the first at least 1 % of the training, at most 5.
func defaultRungs(divisor int) int {
	rungs, share := 1, 1.0
	for rungs < 5 && divisor > 1 && share/float64(divisor) >= 0.01 {
		share /= float64(divisor)
		rungs++
	}
	return rungs
}

// milestones are the shares of the rungs.
func (m Method) milestones() []float64 {
	shares := make([]float64, m.Rungs)
	for i := range shares {
		shares[i] = math.Pow(float64(m.Divisor), float64(i+1-m.Rungs))
	}
	return shares
}

// FirstRung is the share of the training at which trials are first compared; 1 where each trains to its end. The defaults must be filled in.
func (m Method) FirstRung() float64 {
	if !m.laddered() {
		return 1
	}
	return m.milestones()[0]
}

// validate checks a method whose defaults are filled in.
func (m Method) validate(wrong *problems) {
	oneOf := func(path, v string, of []string) {
		if !slices.Contains(of, v) {
			wrong.add("method."+path, "%q is none of %s", v, strings.Join(of, ", "))
		}
	}
	oneOf("name", m.Name, methods)
	belongs := func(path string, given, does bool, to string) bool {
		if given && !does {
			wrong.add("method."+path, "does not belong to %s; it is a setting of %s", m.Name, to)
		}
		return given && does
	}
	if belongs("sampler", m.Sampler != "", m.sampled(), "asha and hyperband") {
		oneOf("sampler", m.Sampler, samplers)
	}
	if belongs("stop", m.Stop != "", m.stoppable(), "random, grid, sobol, tpe and cmaes") {
		oneOf("stop", m.Stop, stops)
	}
	if belongs("variant", m.Variant != "", m.Name == ASHA, "asha") {
		oneOf("variant", m.Variant, variants)
	}
	ladder := "asha, hyperband, bohb and stop: asha"
	if belongs("divisor", m.Divisor != 0, m.laddered(), ladder) && (m.Divisor < 2 || m.Divisor > 100) {
		wrong.add("method.divisor", "must be 2 to 100")
	}
	if belongs("rungs", m.Rungs != 0, m.laddered(), ladder) && (m.Rungs < 1 || m.Rungs > 20) {
		wrong.add("method.rungs", "must be 1 to 20")
	}
	if belongs("grace", m.Grace != 0, m.medians(), "stop: median and median-value") && !(m.Grace > 0 && m.Grace < 1) {
		wrong.add("method.grace", "must be above 0 and below 1")
	}
	if belongs("startup_trials", m.StartupTrials != 0, m.starting(), "tpe, bohb and stop: median or median-value") && (m.StartupTrials < 1 || m.StartupTrials > 10_000) {
		wrong.add("method.startup_trials", "must be 1 to 10000")
	}
	if belongs("population", m.Population != 0, m.Name == PBT, PBT) && (m.Population < 2 || m.Population > 10_000) {
		wrong.add("method.population", "must be 2 to 10000")
	}
	if belongs("intervals", m.Intervals != 0, m.Name == PBT, PBT) && (m.Intervals < 2 || m.Intervals > 1000) {
		wrong.add("method.intervals", "must be 2 to 1000")
	}
	if belongs("quantile", m.Quantile != 0, m.Name == PBT, PBT) && !(m.Quantile > 0 && m.Quantile <= 0.5) {
		wrong.add("method.quantile", "must be above 0 and at most 0.5")
	}
}
