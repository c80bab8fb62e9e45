package spec

import (
	"fmt"
	"math"
	"strings"
)

// Error is all that is wrong with a spec.
type Error struct {
	Problems []Problem
}

// Problem is one thing that is wrong.
type Problem struct {
	Path    string // place in the spec: "training.batch"
	Message string
}

func (e *Error) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.Path + ": " + p.Message
	}
	return strings.Join(parts, "; ")
}

// Wrong is the error of one thing that is wrong, at a place of the spec.
func Wrong(path, message string) error { return &Error{[]Problem{{path, message}}} }

// check collects problems.
type check struct{ problems []Problem }

func (c *check) add(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{path, fmt.Sprintf(format, args...)})
}

func (c *check) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return &Error{c.problems}
}

// integer takes integers of the schema's two sizes.
type integer interface{ ~int32 | ~int64 }

func between[T integer](c *check, path string, v, low, high T) {
	if v < low {
		c.add(path, "must be at least %d", low)
	} else if v > high {
		c.add(path, "must be at most %d", high)
	}
}

func (c *check) number(path string, v, low, high float64) {
	if math.IsNaN(v) || v < low || v > high {
		c.add(path, "must be from %g to %g", low, high)
	}
}

func (c *check) share(path string, v float64) {
	if !(v >= 0 && v < 1) { // so that NaN is refused too
		c.add(path, "must be at least 0 and below 1")
	}
}

func (c *check) oneOf(path, v string, allowed ...string) {
	for _, a := range allowed {
		if v == a {
			return
		}
	}
	c.add(path, "%q is not known, must be %s", v, OneOf(allowed))
}

// OneOf writes what is allowed as people do: "a", "b" or "c".
func OneOf(allowed []string) string {
	quoted := make([]string, len(allowed))
	for i, a := range allowed {
		quoted[i] = fmt.Sprintf("%q", a)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}
