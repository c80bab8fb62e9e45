package quantity

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/spf13/pflag"
)

const (
	// LeastTimeout is the shortest time that a flag can say to wait. None at all is not what anybody means by it.
	LeastTimeout = time.Millisecond
	// MaxMiB is how much memory or disk a flag can speak of: in bytes it fits its number.
	MaxMiB = 1 << 40
)

// quantity is what can be counted or measured by a flag.
type quantity interface {
	int | int32 | int64 | uint64 | float64 | time.Duration
}

// Flag defines a flag with a number or a duration from least to most; most 0: there is no upper bound. Whatever is outside is an error
// that says the range. The value where the flag is not given may lie outside of it, such as 0 for "no limit".
func Flag[T quantity](f *pflag.FlagSet, p *T, name string, value, least, most T, usage string) {
	*p = value
	flag := f.VarPF(&ranged[T]{p, least, most}, name, "", usage)
	if value == 0 {
		flag.DefValue = "0" // which help does not show
	}
}

// ranged is the value of such a flag.
type ranged[T quantity] struct {
	value       *T
	least, most T
}

// Set implements pflag.Value.
func (r *ranged[T]) Set(text string) error {
	v, err := quantityOf[T](text)
	if err != nil || v < r.least || r.most != 0 && v > r.most || math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
		return errors.New("must be " + r.Span())
	}
	*r.value = v
	return nil
}

// String implements pflag.Value.
func (r *ranged[T]) String() string {
	if r.value == nil { // as pflag asks of an empty one
		return "0"
	}
	return fmt.Sprint(*r.value)
}

// Type implements pflag.Value.
func (r *ranged[T]) Type() string {
	if isDuration[T]() {
		return "duration"
	}
	return reflect.TypeFor[T]().Kind().String()
}

// Span says what the flag may be.
func (r *ranged[T]) Span() string {
	what := "a whole number"
	switch {
	case isDuration[T]():
		what = "a duration such as 90s or 5m"
	case reflect.TypeFor[T]().Kind() == reflect.Float64:
		what = "a number"
	}
	if r.most == 0 {
		return fmt.Sprintf("%s, %v or more", what, r.least)
	}
	return fmt.Sprintf("%s from %v to %v", what, r.least, r.most)
}

func isDuration[T quantity]() bool { return reflect.TypeFor[T]() == reflect.TypeFor[time.Duration]() }

// quantityOf reads a flag as pflag does: whole numbers may be written as 0x10 or 1_000.
func quantityOf[T quantity](text string) (T, error) {
	t := reflect.TypeFor[T]()
	switch {
	case isDuration[T]():
		d, err := time.ParseDuration(text)
		return T(d), err
	case t.Kind() == reflect.Float64:
		v, err := strconv.ParseFloat(text, 64)
		return T(v), err
	case t.Kind() == reflect.Uint64:
		v, err := strconv.ParseUint(text, 0, 64)
		return T(v), err
	}
	v, err := strconv.ParseInt(text, 0, t.Bits())
	return T(v), err
}

// Outside is what the flag may not be, for tests: just below and above its range, and below none.
func (r *ranged[T]) Outside() []string {
	all := []string{"-1"}
	if isDuration[T]() {
		all = []string{"-1ns", "-5s"}
	}
	below := &ranged[T]{value: new(T)}
	if *below.value = r.least - 1; r.least > 0 && reflect.TypeFor[T]().Kind() != reflect.Float64 {
		all = append(all, below.String())
	}
	if r.least > 0 {
		all = append(all, "0")
	}
	if above := r.most + 1; r.most != 0 {
		all = append(all, (&ranged[T]{value: &above}).String())
	}
	return all
}
