package spec

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Limits of a spec. They are there to name a slip of the keyboard, not to restrict.
const (
	maxBatch    = 1 << 20
	maxEpochs   = 1_000_000
	maxSteps    = 1_000_000_000
	maxWorkers  = 1024
	maxLayers   = 64
	maxWidth    = 1 << 16
	maxRestarts = 1000
	maxKeep     = 1000
	maxPriority = 1000
)

// FindDataset finds the dataset that a spec names; an error says why there is none.
type FindDataset func(ref string) (*tandemv1.Dataset, error)

// Complete fills in the defaults of a spec, pins its dataset to one version and checks all of it. It returns a new
// spec; what is wrong comes as a *Error with all problems at once.
func Complete(spec *tandemv1.JobSpec, find FindDataset) (*tandemv1.JobSpec, error) {
	if spec == nil {
		return nil, &Error{[]Problem{{"spec", "is missing"}}}
	}
	s := proto.Clone(spec).(*tandemv1.JobSpec)
	s.Kind = cmp.Or(s.GetKind(), "train")
	c := &check{}
	if !IsName(s.GetName()) {
		c.add("name", NameRule)
	}
	c.priority(s.GetPriority())
	if s.MaxRestarts == nil {
		s.MaxRestarts = proto.Int32(3)
	}
	between(c, "max_restarts", s.GetMaxRestarts(), 0, maxRestarts)
	c.limits(s)
	c.labels("labels", s.GetLabels())
	c.labels("placement.labels", s.GetPlacement().GetLabels())
	for _, key := range slices.Sorted(maps.Keys(s.GetLabels())) {
		if s.GetLabels()[key] == "" {
			c.add("labels."+key, "has no value: give it one, or leave it out")
		}
	}
	if s.Resources == nil {
		s.Resources = &tandemv1.ResourceSpec{}
	}
	r := s.GetResources()
	r.Workers, r.Pool = cmp.Or(r.GetWorkers(), 1), cmp.Or(r.GetPool(), "default")
	between(c, "resources.workers", r.GetWorkers(), 1, maxWorkers)
	r.Min, r.Max = cmp.Or(r.GetMin(), r.GetWorkers()), cmp.Or(r.GetMax(), r.GetWorkers())
	c.pool("resources.pool", r.GetPool())
	is, _ := kind.Named(s.GetKind())
	switch is.ID {
	case tandemv1.JobKind_JOB_KIND_TRAIN:
		c.train(s, find)
	case tandemv1.JobKind_JOB_KIND_PUBLISH:
		c.publishOnly(s)
	case tandemv1.JobKind_JOB_KIND_REPLAY:
		c.replayOnly(s)
	case tandemv1.JobKind_JOB_KIND_SWEEP:
		c.sweep(s, find)
	default:
		c.oneOf("kind", s.GetKind(), kind.Words()...)
	}
	if s.GetSearch() != nil && !is.Searches {
		c.add("search", "belongs to kind \"sweep\" only: add kind: sweep, or leave it out")
	}
	if n := proto.Size(s); n > MaxBytes {
		c.add("spec", "takes %d KiB, at most %d are allowed: make its lists shorter", n>>10, MaxBytes>>10)
	}
	return s, c.err()
}

// limits checks what ends a process that takes too long. The default is the engine's: what is not in the spec, coordinators of the last
// release need not know.
func (c *check) limits(s *tandemv1.JobSpec) {
	if s.GetLimits() == nil {
		return
	}
	limit := func(key, value, example string, most time.Duration) {
		if d, err := time.ParseDuration(value); err != nil || d < time.Second || d > most {
			c.add("limits."+key, "%.40q must be a time from 1s to %dh, such as %q", value, int(most.Hours()), example)
		}
	}
	if step := s.GetLimits().GetStep(); step != "" || s.GetLimits().GetWall() == "" {
		limit("step", step, "30m", maxStepLimit)
	}
	if wall := s.GetLimits().GetWall(); wall != "" {
		limit("wall", wall, "12h", maxWall)
	}
	if is, known := kind.Named(s.GetKind()); known && !is.Trains && s.GetLimits().GetWall() != "" {
		c.add("limits.wall", "is for jobs that train: publishing takes the time it takes")
	}
}

const (
	maxStepLimit = 7 * 24 * time.Hour   // a week
	maxWall      = 365 * 24 * time.Hour // a year
)
