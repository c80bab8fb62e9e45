package spec

import (
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// maxReplay is how many steps can be done again. Their figures are held in memory.
const maxReplay = 10_000

func (c *check) replayOnly(s *tandemv1.JobSpec) {
	c.noTraining(s)
	if s.GetPublish() != nil {
		c.add("publish", "does not belong to a job of kind \"replay\"")
	}
	if r := s.GetResources(); r.GetWorkers() > 1 || r.GetMin() > 1 || r.GetMax() > 1 {
		c.add("resources.workers", "does not belong to a job of kind \"replay\", which has as many as trained then")
	}
	if s.GetReplay().GetCheckpointId() == "" {
		c.add("replay.checkpoint_id", "is missing: \"tandem checkpoint list\" shows those there are")
	}
	between(c, "replay.steps", s.GetReplay().GetSteps(), 1, maxReplay)
}
