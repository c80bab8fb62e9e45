package serve

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// numbers reads want numbers from a JSON array, flat or nested as the shape says. The text
// is known to be valid JSON.
func numbers(text []byte, shape []int64, want int) ([]float32, error) {
	p := &arrayParser{text: text}
	p.out = make([]float32, 0, min(want, len(text)/2+1))
	if err := p.array(); err != nil {
		return nil, err
	}
	if len(p.out) != want {
		return nil, fmt.Errorf("it has %d numbers; shape %v needs %d", len(p.out), shape, want)
	}
	if len(p.sizes) > 1 && !slices.Equal(p.sizes, shape) {
		return nil, fmt.Errorf("it is nested as %v, but the shape is %v; nest it so or send it flat", p.sizes, shape)
	}
	return p.out, nil
}

// arrayParser reads nested arrays of equal sizes.
type arrayParser struct {
	text  []byte
	at    int
	depth int
	leaf  int     // depth of the numbers; 0: not seen yet
	sizes []int64 // of the arrays at each depth; -1: not seen to the end yet
	out   []float32
}

const maxNesting = 16

func (p *arrayParser) skip() byte {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return c
		}
	}
	return 0
}

func (p *arrayParser) array() error {
	if p.skip() != '[' {
		return errors.New("it must be an array of numbers")
	}
	if p.depth++; p.depth > maxNesting {
		return errors.New("it is nested too deeply")
	}
	if len(p.sizes) < p.depth {
		p.sizes = append(p.sizes, -1)
	}
	p.at++
	n := int64(0)
	for p.skip() != ']' {
		if n > 0 {
			p.at++ // the comma
			p.skip()
		}
		if err := p.element(); err != nil {
			return err
		}
		n++
	}
	p.at++
	if size := p.sizes[p.depth-1]; size >= 0 && size != n {
		return fmt.Errorf("it is ragged: arrays of %d and of %d elements side by side", size, n)
	}
	p.sizes[p.depth-1] = n
	p.depth--
	return nil
}

func (p *arrayParser) element() error {
	if p.skip() == '[' {
		if p.leaf == p.depth {
			return errors.New("numbers and arrays are mixed")
		}
		return p.array()
	}
	start := p.at
	for p.at < len(p.text) && p.text[p.at] != ',' && p.text[p.at] != ']' {
		p.at++
	}
	token := string(trimRight(p.text[start:p.at]))
	if c := token[0]; c != '-' && (c < '0' || c > '9') {
		return fmt.Errorf("element %d is %.40s, not a number", len(p.out), token)
	}
	if p.leaf != 0 && p.leaf != p.depth {
		return errors.New("numbers and arrays are mixed")
	}
	p.leaf = p.depth
	v, err := strconv.ParseFloat(token, 32)
	if err != nil || math.IsInf(v, 0) {
		return fmt.Errorf("element %d is %.40s, which is too large for a 32-bit float", len(p.out), token)
	}
	p.out = append(p.out, float32(v))
	return nil
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t' || b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}
