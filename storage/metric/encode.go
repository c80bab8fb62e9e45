package metric

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrCorrupt: an object is not a segment.
var ErrCorrupt = errors.New("corrupt metrics")

const (
	// MaxObject is the largest object that Decode takes, in bytes.
	MaxObject = 32 << 20
	maxPlain  = 256 << 20 // its bytes unpacked
	maxLine   = 64 << 20
)

// line is one line after the header. Exactly one field is set.
type line struct {
	Beat       *Beat       `json:"beat,omitempty"`
	Evaluation *Evaluation `json:"evaluation,omitempty"`
	Run        *Run        `json:"run,omitempty"`
	Span       *Span       `json:"span,omitempty"`
}

// Encode returns the object of a segment.
func Encode(s Segment) ([]byte, error) {
	s.Format, s.Version = format, version
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("encode metrics: %w", err)
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	e := json.NewEncoder(z)
	err := e.Encode(s.Header)
	put := func(l line) {
		if err == nil {
			err = e.Encode(l)
		}
	}
	for i := range s.Beats {
		put(line{Beat: &s.Beats[i]})
	}
	for i := range s.Evaluations {
		put(line{Evaluation: &s.Evaluations[i]})
	}
	for i := range s.Runs {
		put(line{Run: &s.Runs[i]})
	}
	for i := range s.Spans {
		put(line{Span: &s.Spans[i]})
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encode metrics: %w", err)
	}
	return out.Bytes(), nil
}

// Decode reads an object. What is not as FORMAT.md says is ErrCorrupt.
func Decode(b []byte) (Segment, error) { return DecodeWithin(b, maxPlain) }

// DecodeWithin is Decode of what has at most this many bytes when it is unpacked.
func DecodeWithin(b []byte, most int64) (Segment, error) {
	s, err := decode(b, min(most, maxPlain))
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return Segment{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return s, nil
}

func decode(b []byte, most int64) (s Segment, err error) {
	if len(b) > MaxObject {
		return s, fmt.Errorf("%d bytes", len(b))
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return s, err
	}
	plain := &io.LimitedReader{R: z, N: most + 1}
	lines := bufio.NewScanner(plain)
	lines.Buffer(nil, maxLine)
	for first := true; lines.Scan(); first = false {
		if first {
			if err := strict(lines.Bytes(), &s.Header); err != nil {
				return s, fmt.Errorf("header: %w", err)
			}
			continue
		}
		var l line
		if err := strict(lines.Bytes(), &l); err != nil {
			return s, err
		}
		if err := s.add(l); err != nil {
			return s, err
		}
	}
	if err := lines.Err(); err != nil {
		return s, err
	}
	if plain.N == 0 {
		return s, errors.New("too many bytes unpacked")
	}
	return s, nil
}

func (s *Segment) add(l line) error {
	n := 0
	if l.Beat != nil {
		s.Beats = append(s.Beats, *l.Beat)
		n++
	}
	if l.Evaluation != nil {
		s.Evaluations = append(s.Evaluations, *l.Evaluation)
		n++
	}
	if l.Run != nil {
		s.Runs = append(s.Runs, *l.Run)
		n++
	}
	if l.Span != nil {
		s.Spans = append(s.Spans, *l.Span)
		n++
	}
	if n != 1 {
		return fmt.Errorf("a line with %d records", n)
	}
	return nil
}

// strict reads one JSON object and nothing else.
func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value in a line")
	}
	return nil
}

// check refuses what no recorder writes.
func (s Segment) check() error {
	if s.Format != format || s.Version != version {
		return fmt.Errorf("format %.40q version %d, this program reads %s %d", s.Format, s.Version, format, version)
	}
	if err := s.Header.check(); err != nil {
		return err
	}
	of := map[Kind]int{Beats: len(s.Beats) + len(s.Evaluations), Steps: len(s.Runs), Spans: len(s.Spans)}
	for kind, n := range of {
		if n > 0 && kind != s.Kind {
			return fmt.Errorf("records of kind %s in a segment of kind %s", kind, s.Kind)
		}
	}
	for _, b := range s.Beats {
		if !instant(b.From) || b.First < 0 || b.Step < b.First || b.Rows < 0 || b.Epoch < 0 {
			return fmt.Errorf("beat of steps %d to %d at %d", b.First, b.Step, b.From)
		}
		for c, d := range b.Times {
			if d < 0 || d > maxSpan {
				return fmt.Errorf("beat at step %d: %s took %d ns", b.Step, Category(c), d)
			}
		}
		if b.Times.Total() > maxSpan {
			return fmt.Errorf("beat at step %d took %d ns", b.Step, b.Times.Total())
		}
	}
	for _, e := range s.Evaluations {
		if !instant(e.Time) || e.Step < 0 || e.Epoch < 0 {
			return fmt.Errorf("evaluation of step %d at %d", e.Step, e.Time)
		}
	}
	for _, r := range s.Runs {
		if r.First < 1 || len(r.Loss) == 0 || len(r.Loss) != len(r.Norm) {
			return fmt.Errorf("run from step %d with %d losses and %d norms", r.First, len(r.Loss), len(r.Norm))
		}
	}
	for _, p := range s.Spans {
		if !instant(p.Begin) || p.Step < 0 || p.Length < 0 || p.Length > maxSpan {
			return fmt.Errorf("span of step %d at %d, %d ns long", p.Step, p.Begin, p.Length)
		}
	}
	return nil
}

func (h Header) check() error {
	switch {
	case h.Kind != Beats && h.Kind != Steps && h.Kind != Spans:
		return fmt.Errorf("unknown kind %.40q", h.Kind)
	case h.Trial == "" || h.Member == "":
		return errors.New("no trial or member")
	case h.Generation < 0 || h.Rank < -1 || h.World < 0 || h.Rank >= h.World || h.Seq < 0 || h.Lost < 0:
		return fmt.Errorf("generation %d, rank %d of %d, segment %d, %d lost", h.Generation, h.Rank, h.World, h.Seq, h.Lost)
	case !instant(h.Begin) || h.Due < 0 || h.Due > maxSpan:
		return fmt.Errorf("begin %d, due after %d ns", h.Begin, h.Due)
	}
	return nil
}

// instant tells whether a time lies between 1970 and the year 2200, so that sums with maxSpan fit in an int64.
func instant(ns int64) bool { return ns >= 0 && ns < int64(230*365*24*time.Hour) }
