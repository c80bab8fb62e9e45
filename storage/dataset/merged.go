package dataset

import "strconv"

// maxExact is how many different values of a column are looked at: a column of times or ids shows within the first ones what becomes of them.
const maxExact = 1000

// merged watches which values of a column become equal as 32-bit numbers. The zero value is ready.
type merged struct {
	seen    map[float32]float64 // by what they become, the first value that did
	values  map[float64]bool    // all of them
	count   int                 // those that became equal to another one
	example [2]string
}

// add takes in a number, v as 32 bits.
func (m *merged) add(cell string, v float32) {
	const short = 7 // characters: no two numbers of so few digits become equal
	if len(cell) <= short || len(m.values) >= maxExact {
		return
	}
	f, err := strconv.ParseFloat(cell, 64)
	if err != nil || m.values[f] {
		return
	}
	if m.values == nil {
		m.seen, m.values = map[float32]float64{}, map[float64]bool{}
	}
	m.values[f] = true
	other, there := m.seen[v]
	if !there {
		m.seen[v] = f
		return
	}
	if m.count == 0 {
		m.example = [2]string{strconv.FormatFloat(other, 'f', -1, 64), cell}
	}
	m.count++
}

// matters says whether so many values became equal that it is no chance: numbers with many digits do now and then.
func (m *merged) matters() bool { return m.count > 0 && 20*m.count >= len(m.values) }
