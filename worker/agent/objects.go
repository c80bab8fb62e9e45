package agent

import (
	"fmt"
	"slices"
	"strings"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/relay"
)

// grant is a part of the store and what an engine may do with it.
type grant struct {
	key string // an object, or with a slash at its end all below it
	ops []relay.Op
}

// grantsOf are the parts of the store that a task needs, and no more: its own trial's, to write, and what it is made of, to read.
func grantsOf(t *tandemv1.EngineTask) []grant {
	var all []grant
	add := func(key string, ops ...relay.Op) {
		if key != "" && key != "/" {
			all = append(all, grant{key, ops})
		}
	}
	below := func(prefix string) string { return prefix + "/" }
	own := func(spec *tandemv1.JobSpec) {
		if sha := spec.GetModel().GetTorchscript().GetArtifact(); sha != "" {
			add(layout.Artifact(sha), relay.Get)
		}
	}
	switch {
	case t.GetTrain() != nil:
		train := t.GetTrain()
		add(below(train.GetDatasetPrefix()), relay.Get)
		own(train.GetSpec())
		add(below(train.GetResume().GetPrefix()), relay.Get, relay.List)
		if r := train.GetReplay(); r != nil { // it keeps nothing, finds that it has kept nothing, and reads what was recorded
			add(below(train.GetCheckpointPrefix()), relay.List)
			add(below(layout.Trial(r.GetTrialId())), relay.Get, relay.List)
			break
		}
		add(below(train.GetCheckpointPrefix()), relay.Get, relay.Put, relay.List, relay.Delete)
		add(layout.Metrics(train.GetTrialId(), ""), relay.Put)
	case t.GetPublish() != nil:
		publish := t.GetPublish()
		add(below(publish.GetDatasetPrefix()), relay.Get)
		own(publish.GetSpec())
		add(below(publish.GetCheckpoint().GetPrefix()), relay.Get, relay.List)
		add(below(publish.GetVersionPrefix()), relay.Get, relay.Put, relay.List)
		for _, of := range publish.GetIncumbents() {
			add(below(of.GetPrefix()), relay.Get)
		}
		add(layout.Metrics(publish.GetTrialId(), ""), relay.Put)
	case t.GetServe() != nil:
		add(below(t.GetServe().GetVersionPrefix()), relay.Get)
	}
	return all
}

// mayUse says whether an engine may do this with a key, or with all keys that begin with a prefix.
func mayUse(t *tandemv1.EngineTask, op relay.Op, key string) error {
	for _, g := range grantsOf(t) {
		covers := key == g.key && !strings.HasSuffix(g.key, "/") || strings.HasSuffix(g.key, "/") && strings.HasPrefix(key, g.key)
		if covers && slices.Contains(g.ops, op) {
			return nil
		}
	}
	return fmt.Errorf("the task %s has no part in it", t.GetId())
}
