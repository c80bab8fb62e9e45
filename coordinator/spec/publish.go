package spec

import (
	"cmp"
	"fmt"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// publish checks a publication. An alias is taken from another version as the default says, unless the spec does.
func (c *check) publish(p *tandemv1.PublishSpec, when string) {
	p.If = cmp.Or(p.GetIf(), when)
	c.oneOf("publish.if", p.GetIf(), state.PublishIfBetter, state.PublishAlways)
	if !IsName(p.GetModel()) {
		c.add("publish.model", NameRule)
	}
	seen := map[string]bool{}
	for i, a := range p.GetAliases() {
		path := fmt.Sprintf("publish.aliases[%d]", i)
		if msg := AliasProblem(a); msg != "" {
			c.add(path, "%s", msg)
		}
		if seen[a] {
			c.add(path, "%q occurs twice", a)
		}
		seen[a] = true
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
