package search

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Limits of a space. They are there to name a slip of the keyboard, not to restrict.
const (
	maxParameters = 1000
	maxWhole      = 1 << 53 // whole numbers are kept as float64
	maxCount      = 1_000_000
)

// Space is the domain of each hyper-parameter, by name: its place in the spec, such as "training.optimizer.lr".
type Space map[string]Domain

// Domain is what a hyper-parameter may be. Exactly one of Int, Double, Log, Choice and Const is given.
type Domain struct {
	// Int is the whole numbers [min, max], Step apart.
	Int []int64
	// Double is the numbers [min, max].
	Double []float64
	// Log is the numbers [min, max] above 0, even on a logarithmic scale.
	Log []float64
	// Choice is one of these values: numbers, texts, true or false, or lists of them.
	Choice []any
	// Const is always this value.
	Const any
	// Count is how many points a grid takes of Int, Double and Log, ends included; 0: all whole numbers of Int.
	Count int
	// Step is the distance of the whole numbers of Int; 0: 1.
	Step int64
	// When are conditions on other hyper-parameters, by name: this one is only there when each of them has one of these values.
	When map[string][]any
}

// Problem is one thing that is wrong with a config.
type Problem struct {
	Path    string // place in the search section: "space.training.optimizer.lr.log"
	Message string
}

// problems collects them.
type problems []Problem

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, Problem{path, fmt.Sprintf(format, args...)})
}

// Validate returns all that is wrong with the space.
func (s Space) Validate() []Problem {
	_, wrong := s.compile()
	return wrong
}

// names in alphabetical order.
func (s Space) names() []string {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// compile checks the space and brings it into the form that searching uses. The cube is of use only when nothing is wrong.
func (s Space) compile() (*cube, []Problem) {
	var wrong problems
	if len(s) == 0 {
		wrong.add("space", "is empty: name at least one hyper-parameter to search")
	}
	if len(s) > maxParameters {
		wrong.add("space", "has %d hyper-parameters; %d is the most", len(s), maxParameters)
	}
	names := s.names()
	params := make(map[string]*param, len(s))
	for _, name := range names {
		params[name] = s[name].compile("space."+name, name, &wrong)
		for at := strings.LastIndexByte(name, '.'); at > 0; at = strings.LastIndexByte(name[:at], '.') {
			if _, ok := s[name[:at]]; ok {
				wrong.add("space."+name, "lies within %s, which is searched as a whole", name[:at])
			}
		}
	}
	s.conditions(names, params, &wrong)
	order := s.order(names, &wrong)
	if len(wrong) > 0 {
		return nil, wrong
	}
	return newCube(order, params, s), nil
}

// compile reads one domain.
func (d Domain) compile(path, name string, wrong *problems) *param {
	p := &param{name: name, count: d.Count}
	given := 0
	for _, is := range []bool{d.Int != nil, d.Double != nil, d.Log != nil, d.Choice != nil, d.Const != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		wrong.add(path, "needs exactly one of int, double, log, choice and const, and has %d", given)
		return p
	}
	switch {
	case d.Int != nil:
		p.kind = whole
		d.whole(p, path+".int", wrong)
	case d.Double != nil:
		p.kind = linear
		p.span(d.Double, path+".double", wrong)
	case d.Log != nil:
		p.kind = logarithmic
		p.span(d.Log, path+".log", wrong)
		if p.min <= 0 {
			wrong.add(path+".log", "%v is not above 0", p.min)
		}
	case d.Choice != nil:
		p.kind, p.values, p.n = choice, d.Choice, len(d.Choice)
		if len(d.Choice) == 0 {
			wrong.add(path+".choice", "is empty")
		}
		p.at = checkValues(d.Choice, path+".choice", wrong)
	default:
		p.kind, p.values, p.n = choice, []any{d.Const}, 1
		p.at = map[string]int{keyOf(d.Const): 0}
		checkValue(d.Const, path+".const", wrong)
	}
	if d.Step != 0 && d.Int == nil {
		wrong.add(path+".step", "is for int only")
	}
	if d.Count != 0 && (d.Choice != nil || d.Const != nil) {
		wrong.add(path+".count", "is for int, double and log only")
	}
	if d.Count < 0 || d.Count > maxCount {
		wrong.add(path+".count", "must be 1 to %d", maxCount)
	} else if p.kind == whole && p.n > 0 && d.Count > p.n {
		wrong.add(path+".count", "is %d, but there are only %d whole numbers", d.Count, p.n)
	}
	return p
}

func (d Domain) whole(p *param, path string, wrong *problems) {
	if len(d.Int) != 2 {
		wrong.add(path, "needs two numbers, [min, max], and has %d", len(d.Int))
		return
	}
	low, high := d.Int[0], d.Int[1]
	if low < -maxWhole || high > maxWhole {
		wrong.add(path, "goes beyond 2^53, where not every whole number can be told apart")
		return
	}
	if low >= high {
		wrong.add(path, "min %d is not below max %d; for a single value use const", low, high)
		return
	}
	step := d.Step
	if step == 0 {
		step = 1
	}
	if step < 0 || step > high-low {
		wrong.add(strings.TrimSuffix(path, "int")+"step", "must be 1 to %d", high-low)
		return
	}
	p.min, p.step, p.n = float64(low), float64(step), int((high-low)/step)+1
	p.max = p.min + p.step*float64(p.n-1)
}

// span reads [min, max].
func (p *param) span(ends []float64, path string, wrong *problems) {
	p.min, p.max = 1, 1
	if len(ends) != 2 {
		wrong.add(path, "needs two numbers, [min, max], and has %d", len(ends))
		return
	}
	if math.IsNaN(ends[0]) || math.IsNaN(ends[1]) || math.IsInf(ends[0], 0) || math.IsInf(ends[1], 0) || math.IsInf(ends[1]-ends[0], 0) {
		wrong.add(path, "needs finite numbers")
		return
	}
	if ends[0] >= ends[1] {
		wrong.add(path, "min %v is not below max %v; for a single value use const", ends[0], ends[1])
	}
	p.min, p.max = ends[0], ends[1]
}

// checkValue says whether v is a number, a text, true or false, or a list of them.
func checkValue(v any, path string, wrong *problems) bool {
	switch v := v.(type) {
	case string, bool:
		return true
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			wrong.add(path, "needs finite numbers")
			return false
		}
		return true
	case []any:
		for _, e := range v {
			if !checkValue(e, path, wrong) {
				return false
			}
		}
		return true
	}
	wrong.add(path, "%v is not a number, a text, true or false, or a list of them", v)
	return false
}

// checkValues checks a list of values, none of which may be there twice, and returns the place of each by its key. It stops at the first
// that is wrong: of a thousand nobody reads more.
func checkValues(values []any, path string, wrong *problems) map[string]int {
	at := make(map[string]int, len(values))
	for i, v := range values {
		if !checkValue(v, path, wrong) {
			return at
		}
		key := keyOf(v)
		if _, twice := at[key]; twice {
			wrong.add(path, "has %s twice", short(v))
			return at
		}
		at[key] = i
	}
	return at
}

// keyOf is a text that two values have in common if and only if they are equal.
func keyOf(v any) string { return string(appendKey(nil, v)) }

func appendKey(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return strconv.AppendQuote(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case float64:
		return strconv.AppendFloat(b, v+0, 'g', -1, 64) // -0 is 0
	case []any:
		b = append(b, '[')
		for _, e := range v {
			b = append(appendKey(b, e), ',')
		}
		return append(b, ']')
	}
	return fmt.Appendf(b, "%T", v) // is not a value: checkValue says so
}

// short is a value as an error shows it.
func short(v any) string {
	text := fmt.Sprint(v)
	if len(text) > 80 {
		return text[:80] + " ..."
	}
	return text
}

// conditions checks the conditions of all.
func (s Space) conditions(names []string, params map[string]*param, wrong *problems) {
	for _, name := range names {
		for _, on := range sortedKeys(s[name].When) {
			path := "space." + name + ".when." + on
			parent, ok := params[on]
			switch {
			case !ok:
				wrong.add(path, "there is no hyper-parameter of this name in the space")
				continue
			case parent.n == 0 && (parent.kind == linear || parent.kind == logarithmic):
				wrong.add(path, "a condition needs an int, choice or const, and this has values without number")
				continue
			}
			values := s[name].When[on]
			if len(values) == 0 {
				wrong.add(path, "needs at least one value")
			}
			checkValues(values, path, wrong)
			for _, v := range values {
				if parent.n > 0 && parent.index(v) < 0 {
					wrong.add(path, "%s is not a value of %s", short(v), on)
				}
			}
		}
	}
}

func sortedKeys(m map[string][]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// order puts every hyper-parameter behind those that its conditions name; else they go by the alphabet.
func (s Space) order(names []string, wrong *problems) []string {
	var order, path []string
	done := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if at := slices.Index(path, name); at >= 0 {
			wrong.add("space."+name+".when", "conditions go round in a circle: %s -> %s", strings.Join(path[at:], " -> "), name)
			return
		}
		if done[name] {
			return
		}
		path = append(path, name)
		for _, on := range sortedKeys(s[name].When) {
			if _, ok := s[on]; ok {
				visit(on)
			}
		}
		path = path[:len(path)-1]
		done[name] = true
		order = append(order, name)
	}
	for _, name := range names {
		visit(name)
	}
	return order
}
