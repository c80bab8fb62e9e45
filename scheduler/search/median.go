package search

import "fmt"

// median ends trials by the rule of Vizier and Ray (Golovin et al. 2017): a trial stops when its best loss so far is worse than the median of what the
// others had on average up to the same share. With values it is that of Optuna's MedianPruner, which ends more of them: the median of what the others
// had at that share. Shares are compared in hundredths.
type median struct {
	search *Searcher
	grace  float64
	least  int
	values bool
	marks  [101][]entry // averages, or values, of those that got there, ordered
	curves []curve      // by number of the trial - 1
}

// curve is the sum of a trial's losses so far.
type curve struct {
	sum   float64
	count int
	best  float64
	mark  int // the last one it got to
}

func (m *median) next(create, _ bool) (move, bool) { return move{until: 1}, create }

func (m *median) measured(t *trial) string {
	for len(m.curves) < t.n {
		m.curves = append(m.curves, curve{})
	}
	c := &m.curves[t.n-1]
	if c.count == 0 || t.loss < c.best {
		c.best = t.loss
	}
	c.sum += t.loss
	c.count++
	mark := int(100*t.share + 1e-9)
	if mark <= c.mark {
		return ""
	}
	others, of, had := m.marks[mark], "running averages", c.sum/float64(c.count)
	if m.values {
		of, had = "values", t.loss
	}
	for c.mark < mark {
		c.mark++
		m.marks[c.mark] = put(m.marks[c.mark], entry{had, t.n})
	}
	if t.share < m.grace || len(others) < m.least || t.share >= 1 {
		return ""
	}
	middle := others[len(others)/2].loss
	if c.best <= middle {
		return ""
	}
	return fmt.Sprintf("its best so far, %.4g, is worse than the median of the %s of %d others at %s, %.4g",
		m.search.value(c.best), of, len(others), percent(t.share), m.search.value(middle))
}

func (*median) reached(*trial)        {}
func (*median) ended(*trial, Outcome) {}
func (*median) extended()             {}
