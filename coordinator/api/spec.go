package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/ckpt"
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

var (
	nameRE   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	numberRE = regexp.MustCompile(`^[0-9]+$`)
	sha256RE = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

const nameRule = "must be 1 to 63 of a-z, 0-9 and -, not - at the ends"

// SpecError is all that is wrong with a spec.
type SpecError struct {
	Problems []Problem
}

// Problem is one thing that is wrong.
type Problem struct {
	Path    string // place in the spec: "training.batch"
	Message string
}

func (e *SpecError) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.Path + ": " + p.Message
	}
	return strings.Join(parts, "; ")
}

// check collects problems.
type check struct{ problems []Problem }

func (c *check) add(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{path, fmt.Sprintf(format, args...)})
}

func (c *check) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return &SpecError{c.problems}
}

// whole takes integers of the schema's two sizes.
type whole interface{ ~int32 | ~int64 }

func between[T whole](c *check, path string, v, low, high T) {
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

func (c *check) oneOf(path, v string, allowed ...string) {
	for _, a := range allowed {
		if v == a {
			return
		}
	}
	c.add(path, "%q is not known, must be %s", v, oneOfText(allowed))
}

func oneOfText(allowed []string) string {
	quoted := make([]string, len(allowed))
	for i, a := range allowed {
		quoted[i] = fmt.Sprintf("%q", a)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}

// or returns v, or the default when v is the zero value.
func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// FindDataset finds the dataset that a spec names; an error says why there is none.
type FindDataset func(ref string) (*tandemv1.Dataset, error)

// CompleteSpec fills in the defaults of a spec, pins its dataset to one version and checks all of it. It returns a new
// spec; what is wrong comes as a *SpecError with all problems at once.
func CompleteSpec(spec *tandemv1.JobSpec, find FindDataset) (*tandemv1.JobSpec, error) {
	if spec == nil {
		return nil, &SpecError{[]Problem{{"spec", "is missing"}}}
	}
	s := proto.Clone(spec).(*tandemv1.JobSpec)
	s.Kind = or(s.GetKind(), "train")
	c := &check{}
	if !nameRE.MatchString(s.GetName()) {
		c.add("name", nameRule)
	}
	between(c, "priority", s.GetPriority(), -maxPriority, maxPriority)
	if s.MaxRestarts == nil {
		s.MaxRestarts = proto.Int32(3)
	}
	between(c, "max_restarts", s.GetMaxRestarts(), 0, maxRestarts)
	c.limits(s)
	if s.Resources == nil {
		s.Resources = &tandemv1.ResourceSpec{}
	}
	r := s.GetResources()
	r.Workers, r.Pool = or(r.GetWorkers(), 1), or(r.GetPool(), "default")
	between(c, "resources.workers", r.GetWorkers(), 1, maxWorkers)
	r.Min, r.Max = or(r.GetMin(), r.GetWorkers()), or(r.GetMax(), r.GetWorkers())
	if !nameRE.MatchString(r.GetPool()) {
		c.add("resources.pool", nameRule)
	}
	switch s.GetKind() {
	case "train":
		c.train(s, find)
	case "publish":
		c.publishOnly(s)
	case "replay":
		c.replayOnly(s)
	case "sweep":
		c.sweep(s, find)
	default:
		c.oneOf("kind", s.GetKind(), "train", "publish", "replay", "sweep")
	}
	if s.GetSearch() != nil && s.GetKind() != "sweep" {
		c.add("search", "belongs to kind \"sweep\" only: add kind: sweep, or leave it out")
	}
	return s, c.err()
}

// limits checks what ends a process that takes too long. The default is the engine's: what is not in the spec, coordinators of the last
// release need not know.
func (c *check) limits(s *tandemv1.JobSpec) {
	if s.GetLimits() == nil {
		return
	}
	if d, err := time.ParseDuration(s.GetLimits().GetStep()); err != nil || d < time.Second || d > maxStepLimit {
		c.add("limits.step", "%.40q must be a time from 1s to %dh, such as \"30m\"", s.GetLimits().GetStep(), int(maxStepLimit.Hours()))
	}
}

// maxStepLimit is a week.
const maxStepLimit = 7 * 24 * time.Hour

func (c *check) train(s *tandemv1.JobSpec, find FindDataset) {
	data := c.dataset(s, find)
	c.model(s.GetModel(), data)
	if s.Training == nil {
		s.Training = &tandemv1.TrainingSpec{}
	}
	c.training(s.GetTraining(), data)
	batch := s.GetTraining().GetBatch()
	c.elastic(s.GetResources(), batch)
	c.batchNorm(s, data)
	if s.Evaluate == nil {
		s.Evaluate = &tandemv1.EvaluateSpec{}
	}
	between(c, "evaluate.every_steps", s.GetEvaluate().GetEverySteps(), 0, maxSteps)
	s.Evaluate.Batch = or(s.GetEvaluate().GetBatch(), max(batch, 1))
	between(c, "evaluate.batch", s.GetEvaluate().GetBatch(), 1, maxBatch)
	if s.Checkpoint == nil {
		s.Checkpoint = &tandemv1.CheckpointSpec{}
	}
	if s.Checkpoint.Keep == nil {
		s.Checkpoint.Keep = &tandemv1.KeepSpec{}
	}
	between(c, "checkpoint.every_steps", s.GetCheckpoint().GetEverySteps(), 0, maxSteps)
	keep := s.GetCheckpoint().GetKeep()
	keep.Best, keep.Latest = or(keep.GetBest(), 1), or(keep.GetLatest(), 1)
	between(c, "checkpoint.keep.best", keep.GetBest(), 1, maxKeep)
	between(c, "checkpoint.keep.latest", keep.GetLatest(), 1, maxKeep)
	c.metric(s, data)
	if p := s.GetPublish(); p != nil {
		c.publish(p, state.PublishIfBetter)
		if p.GetCheckpointId() != "" {
			c.add("publish.checkpoint_id", "belongs to kind \"publish\" only: a job that trains publishes its own best checkpoint")
		}
	}
	if s.GetReplay() != nil {
		c.add("replay", "belongs to kind \"replay\" only")
	}
}

// elastic checks the numbers of workers against each other and against the batch they share.
func (c *check) elastic(r *tandemv1.ResourceSpec, batch int32) {
	workers := r.GetWorkers()
	if workers < 1 || workers > maxWorkers {
		return // said already
	}
	if batch > 0 && workers > batch {
		c.add("resources.workers", "%d workers cannot share a batch of %d rows; use fewer workers or a larger training.batch", workers, batch)
	} else if batch > 0 && r.GetMax() > batch {
		c.add("resources.max", "%d workers cannot share a batch of %d rows; use fewer workers or a larger training.batch", r.GetMax(), batch)
	}
	between(c, "resources.min", r.GetMin(), 1, workers)
	between(c, "resources.max", r.GetMax(), workers, maxWorkers)
}

// dataset pins the dataset to one version; nil when there is none.
func (c *check) dataset(s *tandemv1.JobSpec, find FindDataset) *tandemv1.Dataset {
	if s.GetDataset() == "" {
		c.add("dataset", "is missing: name one that \"tandem dataset list\" shows")
		return nil
	}
	d, err := find(s.GetDataset())
	if err != nil {
		c.add("dataset", "%v; \"tandem dataset list\" shows those there are", err)
		return nil
	}
	s.Dataset, s.DatasetId = fmt.Sprintf("%s@%d", d.GetName(), d.GetVersion()), d.GetId()
	for _, split := range []string{"train", "validation"} {
		if d.GetRows()[split] == 0 {
			c.add("dataset", "%s has no rows in its %s split; make it again with, for example, --split 80/10/10", s.GetDataset(), split)
		}
	}
	return d
}

func (c *check) metric(s *tandemv1.JobSpec, data *tandemv1.Dataset) {
	allowed, def := []string{"accuracy", "loss"}, "accuracy"
	if data.GetTask() == "regression" {
		allowed, def = []string{"loss", "mae"}, "loss"
	}
	if data.GetTask() == "language" {
		def = "loss"
	}
	s.Metric = or(s.GetMetric(), def)
	if data != nil {
		c.oneOf("metric", s.GetMetric(), allowed...)
	}
	mode, better, other := "min", "lower", "accuracy"
	if s.GetMetric() == "accuracy" {
		mode, better, other = "max", "higher", "loss"
	}
	s.Mode = or(s.GetMode(), mode)
	if !slices.Contains([]string{"min", "max"}, s.GetMode()) {
		c.oneOf("mode", s.GetMode(), "min", "max")
	} else if s.GetMode() != mode { // the worst would be kept as the best
		c.add("mode", "is %s, but %s is better when it is %s: leave mode out, or did you mean metric: %s?", s.GetMode(), s.GetMetric(), better, other)
	}
	if s.GetMetric() == "loss" {
		c.oneOf("tie_breaker", or(s.GetTieBreaker(), ckpt.NoTieBreaker), ckpt.NoTieBreaker)
		return
	}
	s.TieBreaker = or(s.GetTieBreaker(), "loss")
	c.oneOf("tie_breaker", s.GetTieBreaker(), "loss", ckpt.NoTieBreaker)
}

// publish checks a publication. An alias is taken from another version as the default says, unless the spec does.
func (c *check) publish(p *tandemv1.PublishSpec, when string) {
	p.If = or(p.GetIf(), when)
	c.oneOf("publish.if", p.GetIf(), state.PublishIfBetter, state.PublishAlways)
	if !nameRE.MatchString(p.GetModel()) {
		c.add("publish.model", nameRule)
	}
	seen := map[string]bool{}
	for i, a := range p.GetAliases() {
		path := fmt.Sprintf("publish.aliases[%d]", i)
		if msg := aliasProblem(a); msg != "" {
			c.add(path, "%s", msg)
		}
		if seen[a] {
			c.add(path, "%q is there twice", a)
		}
		seen[a] = true
	}
}

// aliasProblem says what is wrong with the name of an alias; empty if nothing is.
func aliasProblem(name string) string {
	switch {
	case !nameRE.MatchString(name):
		return nameRule
	case numberRE.MatchString(name):
		return fmt.Sprintf("%q is a number: numbers name versions", name)
	}
	return ""
}

// noTraining refuses what says how to train: a job that begins from a checkpoint has it from there.
func (c *check) noTraining(s *tandemv1.JobSpec) {
	for _, f := range []struct {
		path string
		set  bool
	}{
		{"dataset", s.GetDataset() != "" || s.GetDatasetId() != ""},
		{"model", s.GetModel() != nil},
		{"training", s.GetTraining() != nil},
		{"evaluate", s.GetEvaluate() != nil},
		{"checkpoint", s.GetCheckpoint() != nil},
		{"metric", s.GetMetric() != ""},
		{"mode", s.GetMode() != ""},
		{"tie_breaker", s.GetTieBreaker() != ""},
	} {
		if f.set {
			c.add(f.path, "does not belong to a job of kind %q", s.GetKind())
		}
	}
}

func (c *check) publishOnly(s *tandemv1.JobSpec) {
	c.noTraining(s)
	if s.GetReplay() != nil {
		c.add("replay", "does not belong to a job of kind \"publish\"")
	}
	if r := s.GetResources(); r.GetWorkers() > 1 || r.GetMin() > 1 || r.GetMax() > 1 {
		c.add("resources.workers", "must be 1 for a job of kind \"publish\"")
	}
	if s.GetPublish() == nil {
		c.add("publish", "is missing: say which model")
		return
	}
	c.publish(s.GetPublish(), state.PublishAlways) // who names a checkpoint means it
	if s.GetPublish().GetCheckpointId() == "" {
		c.add("publish.checkpoint_id", "is missing: \"tandem checkpoint list\" shows those there are")
	}
}

// SpecHash is the SHA-256 of a spec as canonical JSON (keys sorted, no spaces), in hexadecimal.
func SpecHash(spec *tandemv1.JobSpec) (string, error) {
	b, err := protojson.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("encode the spec: %w", err)
	}
	// protojson varies its spaces on purpose; encoding/json sorts keys and does not.
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", fmt.Errorf("encode the spec: %w", err)
	}
	if b, err = json.Marshal(v); err != nil {
		return "", fmt.Errorf("encode the spec: %w", err)
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:]), nil
}
