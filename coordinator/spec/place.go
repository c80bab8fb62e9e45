package spec

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/scheduler/search"
)

// place is a field of a spec.
type place struct {
	path  string
	steps []protoreflect.FieldDescriptor // from JobSpec on; the last is a scalar or a list of scalars
}

// placeOf finds a field by its path; the error says what is wrong with it.
func placeOf(path string) (place, error) {
	p := place{path: path}
	steps := strings.Split(path, ".")
	switch {
	case steps[0] != "model" && steps[0] != "training":
		return p, fmt.Errorf("cannot be searched: only what is in model and in training can")
	case strings.HasPrefix(path, "model.torchscript"):
		return p, fmt.Errorf("cannot be searched: the file is the same for all trials")
	}
	m := (&tandemv1.JobSpec{}).ProtoReflect().Descriptor()
	for i, step := range steps {
		f := m.Fields().ByName(protoreflect.Name(step))
		at := strings.Join(steps[:i], ".")
		switch {
		case f == nil:
			return p, fmt.Errorf("there is no %q in %s: it has %s", step, at, strings.Join(fieldNames(m), ", "))
		case i < len(steps)-1 && (f.Message() == nil || f.IsList() || f.IsMap()):
			return p, fmt.Errorf("%s.%s has no keys of its own", at, step)
		case i == len(steps)-1 && f.Message() != nil:
			return p, fmt.Errorf("is a section: name one of its keys, %s", strings.Join(fieldNames(f.Message()), ", "))
		}
		p.steps = append(p.steps, f)
		m = f.Message()
	}
	return p, nil
}

func fieldNames(m protoreflect.MessageDescriptor) []string {
	names := make([]string, m.Fields().Len())
	for i := range names {
		names[i] = string(m.Fields().Get(i).Name())
	}
	return names
}

// field is the last step.
func (p place) field() protoreflect.FieldDescriptor { return p.steps[len(p.steps)-1] }

// convert makes a value of the field from one of JSON.
func (p place) convert(v any) (protoreflect.Value, error) {
	f := p.field()
	if !f.IsList() {
		return scalar(f, v)
	}
	list, ok := v.([]any)
	if !ok {
		return protoreflect.Value{}, fmt.Errorf("%v is not a list", v)
	}
	to := (&tandemv1.JobSpec{}).ProtoReflect()
	for _, s := range p.steps[:len(p.steps)-1] {
		to = to.Mutable(s).Message()
	}
	out := to.NewField(f).List()
	for _, e := range list {
		x, err := scalar(f, e)
		if err != nil {
			return protoreflect.Value{}, err
		}
		out.Append(x)
	}
	return protoreflect.ValueOfList(out), nil
}

func scalar(f protoreflect.FieldDescriptor, v any) (protoreflect.Value, error) {
	x, isNumber := v.(float64)
	isWhole := isNumber && x == math.Trunc(x)
	switch f.Kind() {
	case protoreflect.Int32Kind:
		if isWhole && x >= math.MinInt32 && x <= math.MaxInt32 {
			return protoreflect.ValueOfInt32(int32(x)), nil
		}
		return protoreflect.Value{}, fmt.Errorf("%v is not a whole number of at most 32 bits", v)
	case protoreflect.Int64Kind:
		if isWhole && math.Abs(x) <= 1<<53 {
			return protoreflect.ValueOfInt64(int64(x)), nil
		}
		return protoreflect.Value{}, fmt.Errorf("%v is not a whole number", v)
	case protoreflect.DoubleKind:
		if isNumber {
			return protoreflect.ValueOfFloat64(x), nil
		}
		return protoreflect.Value{}, fmt.Errorf("%v is not a number", v)
	case protoreflect.StringKind:
		if s, ok := v.(string); ok {
			return protoreflect.ValueOfString(s), nil
		}
		return protoreflect.Value{}, fmt.Errorf("%v is not a text", v)
	case protoreflect.BoolKind:
		if b, ok := v.(bool); ok {
			return protoreflect.ValueOfBool(b), nil
		}
		return protoreflect.Value{}, fmt.Errorf("%v is neither true nor false", v)
	}
	return protoreflect.Value{}, fmt.Errorf("cannot be searched")
}

// set puts a value into a spec.
func (p place) set(spec *tandemv1.JobSpec, v any) error {
	value, err := p.convert(v)
	if err != nil {
		return err
	}
	m := spec.ProtoReflect()
	for _, f := range p.steps {
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			if other := m.WhichOneof(o); other != nil && other != f {
				return fmt.Errorf("the spec has %s, which excludes %s", other.Name(), f.Name())
			}
		}
		if f == p.field() {
			break
		}
		m = m.Mutable(f).Message()
	}
	m.Set(p.field(), value)
	return nil
}

// get reads the value in a spec as JSON has it.
func (p place) get(spec *tandemv1.JobSpec) any {
	m := spec.ProtoReflect()
	for _, f := range p.steps[:len(p.steps)-1] {
		m = m.Get(f).Message()
	}
	v := m.Get(p.field())
	if !p.field().IsList() {
		return plain(v)
	}
	out := []any{}
	for i := range v.List().Len() {
		out = append(out, plain(v.List().Get(i)))
	}
	return out
}

func plain(v protoreflect.Value) any {
	switch x := v.Interface().(type) {
	case int32:
		return float64(x)
	case int64:
		return float64(x)
	default:
		return x
	}
}

// checkPlaces says what is wrong with the places of a space, and with domains that do not fit them.
func checkPlaces(spec *tandemv1.JobSpec, space search.Space) []Problem {
	var wrong []Problem
	for _, path := range sorted(space) {
		p, err := placeOf(path)
		if err == nil {
			err = fits(p, space[path])
		}
		if err == nil {
			err = excluded(spec, p)
		}
		if err != nil {
			wrong = append(wrong, Problem{"search.space." + path, err.Error()})
		}
	}
	return wrong
}

// fits says why values of a domain cannot stand at a place; nil when they can.
func fits(p place, d search.Domain) error {
	f := p.field()
	kind := f.Kind()
	number := kind == protoreflect.DoubleKind
	switch {
	case (d.Int != nil || d.Double != nil || d.Log != nil) && f.IsList():
		return fmt.Errorf("is a list: give a choice of lists, such as [[16, 32], [32, 64]]")
	case (d.Double != nil || d.Log != nil) && !number:
		return fmt.Errorf("takes %s: double and log do not fit", kindWord(kind))
	case d.Int != nil && !number && kind != protoreflect.Int32Kind && kind != protoreflect.Int64Kind:
		return fmt.Errorf("takes %s: int does not fit", kindWord(kind))
	}
	values := d.Choice
	if d.Const != nil {
		values = []any{d.Const}
	}
	for _, end := range d.Int {
		values = append(values, float64(end))
	}
	for _, v := range values {
		if _, err := p.convert(v); err != nil {
			return err
		}
	}
	return nil
}

func kindWord(k protoreflect.Kind) string {
	switch k {
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return "whole numbers"
	case protoreflect.StringKind:
		return "text"
	case protoreflect.BoolKind:
		return "true or false"
	}
	return "numbers"
}

// excluded says whether a place belongs to what the spec excludes: another architecture.
func excluded(spec *tandemv1.JobSpec, p place) error {
	return p.set(trained(spec), p.get(&tandemv1.JobSpec{}))
}

// trained is a copy of a spec without what is searched, which may be a megabyte that no trial needs, and what is published.
func trained(spec *tandemv1.JobSpec) *tandemv1.JobSpec {
	shallow := &tandemv1.JobSpec{}
	to := shallow.ProtoReflect()
	spec.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(f, v)
		return true
	})
	shallow.Search, shallow.Publish = nil, nil
	return proto.Clone(shallow).(*tandemv1.JobSpec)
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Patch puts a point into a spec, which is the caller's to change.
func Patch(spec *tandemv1.JobSpec, point map[string]any) error {
	for _, path := range sorted(point) {
		p, err := placeOf(path)
		if err == nil {
			err = p.set(spec, point[path])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// Verify says which value of a point a complete spec does not have; nil when it has all of them.
func Verify(spec *tandemv1.JobSpec, point map[string]any) error {
	for _, path := range sorted(point) {
		p, err := placeOf(path)
		if err != nil {
			return err
		}
		if got := p.get(spec); !reflect.DeepEqual(got, point[path]) {
			return fmt.Errorf("%s: %v cannot be searched, for it counts as left out: the default %v takes its place", path, point[path], got)
		}
	}
	return nil
}

// Patched is the spec of a trial of a sweep before its defaults are filled in: that of the sweep with a point put in, and a seed
// that follows from that of the search and the number of the trial.
func Patched(sweep *tandemv1.JobSpec, point map[string]any, number int32) (*tandemv1.JobSpec, error) {
	s := trained(sweep)
	s.Kind = "train"
	if s.Training == nil {
		s.Training = &tandemv1.TrainingSpec{}
	}
	s.Training.Seed = seed(sweep.GetSearch().GetSeed(), sweep.GetTraining().GetSeed(), int64(number))
	return s, Patch(s, point)
}

// seed mixes numbers into one of 31 bits, which every reader of JSON keeps as it is (splitmix64).
func seed(from ...int64) int64 {
	var z uint64
	for _, n := range from {
		z += uint64(n) + 0x9e3779b97f4a7c15 //nolint:gosec // bits
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
	}
	return int64(z >> 33) //nolint:gosec // 31 bits
}
