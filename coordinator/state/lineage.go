package state

import (
	"fmt"
	"slices"

	"tandem.dev/proto/kind"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// AliasStays says why an alias stays at the incumbent and is not taken by a version; nil: the version is better.
func AliasStays(v *View, alias string, incumbent, next *tandemv1.Version, measured []*tandemv1.IncumbentMeasured) *tandemv1.Reason {
	named := []any{
		"alias", alias,
		"kept", fmt.Sprintf("%s@%d", incumbent.GetModel(), incumbent.GetNumber()), "version", fmt.Sprintf("%s@%d", next.GetModel(), next.GetNumber()),
	}
	i := slices.IndexFunc(measured, func(m *tandemv1.IncumbentMeasured) bool { return m.GetVersionId() == incumbent.GetId() })
	if i < 0 {
		return NewReason(tandemv1.Reason_CODE_ALIAS_KEPT, append(named, "unmeasured", true)...)
	}
	trained, _ := v.Job(next.GetLineage().GetJobId())
	trial, _ := v.Trial(next.GetLineage().GetTrialId())
	spec := SpecOf(trained, trial)
	for _, split := range []string{"test_", "validation_"} {
		was, is := MetricsOf(measured[i].GetMetrics(), split), MetricsOf(next.GetMetrics(), split)
		order, ok := Compare(spec, is, was)
		switch metric := spec.GetMetric(); {
		case !ok:
			continue
		case order < 0:
			return nil
		case was[metric] == is[metric] && order != 0:
			metric = spec.GetTieBreaker()
			fallthrough
		default:
			return NewReason(tandemv1.Reason_CODE_ALIAS_KEPT, append(named, "metric", split+metric, "value", is[metric], "kept_value", was[metric])...)
		}
	}
	return NewReason(tandemv1.Reason_CODE_ALIAS_KEPT, append(named, "problem", measured[i].GetProblem(), "without", spec.GetMetric())...)
}

// ResumePoint says where a trial goes on, as arguments.
func ResumePoint(v *View, t *tandemv1.Trial) []any {
	if kind.StageOf(t).Publishes {
		return []any{"publishes", true}
	}
	j, _ := v.Job(t.GetJobId())
	c, _ := v.Checkpoint(ResumeSource(j, t))
	return []any{"step", c.GetStep()} // 0: the beginning
}

// ResumeSource returns the checkpoint that training begins from: the one that a replay names, else the trial's latest, else that
// of the trial it goes on from.
func ResumeSource(j *tandemv1.Job, t *tandemv1.Trial) string {
	if id := j.GetSpec().GetReplay().GetCheckpointId(); id != "" {
		return id
	}
	if id := t.GetLatestCheckpointId(); id != "" {
		return id
	}
	return t.GetStartCheckpointId()
}

// PublishSource returns the checkpoint that a job publishes: the one it names, that of the best trial of a sweep, else its best,
// else its latest.
func PublishSource(j *tandemv1.Job, t *tandemv1.Trial) string {
	if id := j.GetSpec().GetPublish().GetCheckpointId(); id != "" {
		return id
	}
	if kind.Of(j).Searches {
		return t.GetStartCheckpointId()
	}
	if id := t.GetBestCheckpointId(); id != "" {
		return id
	}
	return t.GetLatestCheckpointId()
}
