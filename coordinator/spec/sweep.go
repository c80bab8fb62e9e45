package spec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	// Points of a space that are checked besides the ends of its domains, and the seed they follow from.
	randomSamples, sampleSeed = 16, 1
	// A larger space is checked at so many points, spread over all of them, so that a spec does not hold the coordinator up.
	maxSamples = 500
	// More problems of points than these are not read by anybody.
	maxPointProblems = 5
	// More values than these in the lists of a space, those within values counted too, are not looked at: each takes some hundred bytes of
	// every coordinator for as long as the sweep is kept.
	maxValues   = 4096
	maxGPUHours = 1e9
	maxDeadline = 10 * 365 * 24 * time.Hour
)

// sweep checks what to search, and that every training it may come to can be right.
func (c *check) sweep(s *tandemv1.JobSpec, find FindDataset) {
	if s.GetReplay() != nil {
		c.add("replay", "does not belong to a job of kind \"sweep\"")
	}
	if p := s.GetPublish(); p != nil {
		c.publish(p, state.PublishIfBetter)
		if p.GetCheckpointId() != "" {
			c.add("publish.checkpoint_id", "belongs to kind \"publish\" only: a sweep publishes the best checkpoint of its best trial")
		}
	}
	if s.GetSearch() == nil {
		c.add("search", "is missing: say what to search, with space, method and max_trials")
		return
	}
	if n := spaceValues(s.GetSearch()); n > maxValues {
		c.add("search.space", "has %d values in all, at most %d are allowed: give a range (int, double) where a list is long", n, maxValues)
		return
	}
	c.number("search.gpu_hours", s.GetSearch().GetGpuHours(), 0, maxGPUHours)
	if _, err := Deadline(s); err != nil {
		c.add("search.deadline", "%v", err)
	}
	for _, p := range completeSearch(s) {
		c.add(p.Path, "%s", p.Message)
	}
	if len(c.problems) > 0 {
		return // the trainings cannot be told yet
	}
	c.trainings(s, find)
}

// spaceValues counts the values that the lists of a space hold.
func spaceValues(s *tandemv1.SearchSpec) (n int) {
	var count func(v *structpb.Value) int
	list := func(l *structpb.ListValue) (n int) {
		for _, v := range l.GetValues() {
			n += count(v)
		}
		return n
	}
	count = func(v *structpb.Value) int {
		n := 1 + list(v.GetListValue())
		for _, field := range v.GetStructValue().GetFields() {
			n += count(field)
		}
		return n
	}
	for _, d := range s.GetSpace() {
		n += list(d.GetChoice()) + count(d.GetConst())
		for _, values := range d.GetWhen() {
			n += list(values)
		}
	}
	return n
}

// trainings checks points of the space, and fills in the defaults that all of them agree on.
func (c *check) trainings(s *tandemv1.JobSpec, find FindDataset) {
	found := map[string]*tandemv1.Dataset{}
	once := func(ref string) (*tandemv1.Dataset, error) {
		if d := found[ref]; d != nil {
			return d, nil
		}
		d, err := find(ref)
		found[ref] = d
		return d, err
	}
	points := spread(Config(s, nil).Space.Samples(randomSamples, sampleSeed), maxSamples)
	var specs []*tandemv1.JobSpec
	said := map[Problem]bool{}
	for i, p := range points {
		spec, err := CompleteTrial(s, p, int32(i+1), once) //nolint:gosec // bounded by the limits of a space
		if err == nil {
			specs = append(specs, spec)
			continue
		}
		for _, wrong := range problemsOf(err) {
			if !said[wrong] && len(said) < maxPointProblems {
				c.add(wrong.Path, "%s (a trial with %s)", wrong.Message, pointText(p))
			}
			said[wrong] = true
		}
	}
	if len(c.problems) == 0 {
		s.Dataset = specs[0].GetDataset() // one version for all
		agree(s.ProtoReflect(), messages(specs))
	}
}

// spread takes at most this many of a list, from all over it.
func spread[T any](all []T, most int) []T {
	if len(all) <= most {
		return all
	}
	some := make([]T, most)
	for i := range some {
		some[i] = all[i*len(all)/most]
	}
	return some
}

// CompleteTrial is the complete spec of a trial of a sweep: the sweep's with a point put in, and its own defaults.
func CompleteTrial(sweep *tandemv1.JobSpec, point map[string]any, number int32, find FindDataset) (*tandemv1.JobSpec, error) {
	spec, err := Patched(sweep, point, number)
	if err != nil {
		return nil, err
	}
	complete, err := Complete(spec, find)
	if err != nil {
		return nil, err
	}
	return complete, Verify(complete, point)
}

func problemsOf(err error) []Problem {
	if se := (*Error)(nil); errors.As(err, &se) {
		return se.Problems
	}
	return []Problem{{"search.space", err.Error()}}
}

// pointText writes a point as people do.
func pointText(p map[string]any) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		parts = append(parts, fmt.Sprintf("%s=%v", name, p[name]))
	}
	return strings.Join(parts, ", ")
}

// Deadline is how long a sweep may take; 0: for ever.
func Deadline(s *tandemv1.JobSpec) (time.Duration, error) {
	text := s.GetSearch().GetDeadline()
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > maxDeadline {
		return 0, fmt.Errorf("%.40q must be a time from 1s to %dh, such as \"2h30m\"", text, int(maxDeadline.Hours()))
	}
	return d, nil
}

func messages(specs []*tandemv1.JobSpec) []protoreflect.Message {
	all := make([]protoreflect.Message, len(specs))
	for i, s := range specs {
		all[i] = s.ProtoReflect()
	}
	return all
}

// agree fills in what is not set in a message, and set to the same in all of others. Which defaults depend on what is searched
// nobody has to know then: those that differ are left to each trial.
func agree(to protoreflect.Message, others []protoreflect.Message) {
	if len(others) == 0 {
		return
	}
	others[0].Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		inner := []protoreflect.Message{}
		for _, o := range others {
			if !o.Has(f) {
				return true
			}
			if f.Message() != nil && !f.IsList() && !f.IsMap() {
				inner = append(inner, o.Get(f).Message())
			} else if !o.Get(f).Equal(v) {
				return true
			}
		}
		switch {
		case len(inner) > 0:
			agree(to.Mutable(f).Message(), inner)
		case !to.Has(f):
			to.Set(f, v)
		}
		return true
	})
}
