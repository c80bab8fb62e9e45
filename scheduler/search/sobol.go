package search

import (
	"fmt"
	"math"

	engine "github.com/c-bata/goptuna/sobol"
)

// sobol goes through Sobol's sequence (Sobol 1967; direction numbers of Joe and Kuo 2008), which fills the cube more evenly than chance. The
// seed shifts the sequence as a whole, modulo 1 (Cranley and Patterson 1976).
type sobol struct {
	cube   *cube
	engine *engine.Engine
	shift  []float64
	made   int
}

func newSobol(c *cube, seed uint64) *sobol {
	return &sobol{cube: c, engine: engine.NewEngine(uint32(len(c.params))), shift: c.uniform(newRNG(seed, forShift))}
}

func (s *sobol) propose(int) ([]float64, string, bool) {
	x := s.engine.Draw()
	for i := range x {
		_, x[i] = math.Modf(x[i] + s.shift[i])
	}
	s.made++
	return x, fmt.Sprintf("point %d of Sobol's sequence", s.made), true
}

func (*sobol) tell(int, []float64, int, float64) {}
