package search

import (
	"fmt"

	engine "github.com/c-bata/goptuna/cmaes"
	"gonum.org/v1/gonum/mat"
)

// cmaes draws from a normal distribution that moves and turns towards what was good (Hansen and Ostermeier 2001; Hansen 2016), and begins anew
// with twice the population when it has converged (IPOP, Auger and Hansen 2005). Numbers are its coordinates; choices are drawn uniformly.
//
// It is asynchronous: points are drawn from the distribution of the newest generation, and as many as make a population, in the order in which
// they are told, make the next one. What comes later for an older generation is left out.
type cmaes struct {
	cube       *cube
	seed       uint64
	places     []int // of the numbers among the hyper-parameters
	engine     *engine.Optimizer
	restarts   int
	population int
	generation int // of all restarts
	asked      map[int]asked
	told       []*engine.Solution
	levels     [][]entry // what was told at each level, ordered
	toldLevel  []entry   // level (as loss) and number of each in told
}

// asked is a point that was proposed and not told yet.
type asked struct {
	params     []float64
	generation int
}

// stepSize is the first deviation, in widths of the cube.
const stepSize = 1.0 / 6

func newCMAES(c *cube, seed uint64, levels, concurrent int, known []prior) *cmaes {
	s := &cmaes{cube: c, seed: seed, asked: map[int]asked{}, levels: make([][]entry, levels)}
	for i, p := range c.params {
		if p.kind != choice {
			s.places = append(s.places, i)
		}
	}
	mean := s.constant(0.5)
	if len(known) > 0 {
		mean = s.coordinates(known[0].x)
	}
	s.begin(mean, concurrent)
	return s
}

// dim is at least 2: the method needs a covariance.
func (s *cmaes) dim() int { return max(len(s.places), 2) }

func (s *cmaes) constant(v float64) []float64 {
	x := make([]float64, s.dim())
	for i := range x {
		x[i] = v
	}
	return x
}

func (s *cmaes) coordinates(x []float64) []float64 {
	c := s.constant(0.5)
	for i, at := range s.places {
		c[i] = x[at]
	}
	return c
}

// begin with a new distribution; population 0 is the method's own choice.
func (s *cmaes) begin(mean []float64, population int) {
	bounds := mat.NewDense(s.dim(), 2, nil)
	for i := range s.dim() {
		bounds.Set(i, 1, 1)
	}
	options := []engine.OptimizerOption{
		engine.OptimizerOptionBounds(bounds),
		engine.OptimizerOptionSeed(int64(newRNG(s.seed, forModel, uint64(s.restarts)).next() >> 1)),
	}
	e, err := engine.NewOptimizer(mean, stepSize, options...)
	if err == nil && population > e.PopulationSize() {
		e, err = engine.NewOptimizer(mean, stepSize, append(options, engine.OptimizerOptionPopulationSize(population))...)
	}
	if err != nil {
		panic(fmt.Sprintf("CMA-ES of %d dimensions and a population of %d: %v", s.dim(), population, err)) // its rates are right for all of these
	}
	s.engine, s.population = e, e.PopulationSize()
	s.generation++
	s.told, s.toldLevel = nil, nil
}

func (s *cmaes) propose(n int) ([]float64, string, bool) {
	x := s.cube.uniform(newRNG(s.seed, forPoint, uint64(n)))
	params, err := s.engine.Ask()
	if err != nil {
		return x, "a random point: " + err.Error(), true
	}
	s.asked[n] = asked{params, s.generation}
	for i, at := range s.places {
		x[at] = params[i]
	}
	return x, fmt.Sprintf("of generation %d of CMA-ES", s.generation), true
}

func (s *cmaes) tell(n int, _ []float64, level int, loss float64) {
	a, ok := s.asked[n]
	if !ok {
		return
	}
	delete(s.asked, n)
	s.levels[level] = put(s.levels[level], entry{loss, n})
	if a.generation != s.generation {
		return
	}
	s.told = append(s.told, &engine.Solution{Params: a.params, Value: loss})
	s.toldLevel = append(s.toldLevel, entry{float64(level), n})
	if len(s.told) < s.population {
		return
	}
	if len(s.levels) > 1 {
		s.rankWithinLevels()
	}
	err := s.engine.Tell(s.told)
	s.told, s.toldLevel = nil, nil
	s.generation++
	if err != nil || s.engine.ShouldStop() {
		s.restarts++
		mean := s.coordinates(s.cube.uniform(newRNG(s.seed, forModel, uint64(s.restarts), forPoint)))
		s.begin(mean, 2*s.population)
	}
}

// rankWithinLevels makes losses comparable that were measured at different levels. CMA-ES looks at the order only, so the share of all losses of
// the level that are smaller does.
func (s *cmaes) rankWithinLevels() {
	for i, sol := range s.told {
		of := s.levels[int(s.toldLevel[i].loss)]
		sol.Value = float64(rank(of, entry{sol.Value, s.toldLevel[i].trial})) / float64(len(of))
	}
}
