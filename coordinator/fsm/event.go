package fsm

import (
	"fmt"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	infoLevel    = "info"
	warningLevel = "warning"
	// eventsOfCommand is how many events one command may leave; the number within the index has three digits.
	eventsOfCommand = 1000
)

// subject is what an event is about.
type subject struct{ noun, id, name, job string }

func aboutNode(n *tandemv1.Node) subject {
	return subject{noun: "node", id: n.GetId(), name: nodeName(n)}
}

func aboutCoordinator(id string) subject { return subject{noun: "coordinator", id: id, name: id} }

func aboutModel(m *tandemv1.Model, job string) subject {
	return subject{noun: "model", id: m.GetName(), name: m.GetName(), job: job}
}

func aboutCheckpoint(c *tandemv1.Checkpoint) subject {
	return subject{noun: "checkpoint", id: c.GetId(), name: c.GetId(), job: c.GetJobId()}
}

func aboutDataset(d *tandemv1.Dataset) subject {
	return subject{noun: "dataset", id: d.GetId(), name: d.GetName()}
}

func aboutDeployment(name string) subject { return subject{noun: "deployment", id: name, name: name} }

func aboutToken(t *tandemv1.Token) subject {
	return subject{noun: "token", id: t.GetId(), name: t.GetName()}
}

// record makes an event: what happened to what, what that follows from (nil: nothing else), and its arguments as pairs of name and value.
func (a *applier) record(level string, what tandemv1.Event_Type, about subject, cause *tandemv1.Reason, pairs ...any) {
	if a.events == eventsOfCommand {
		return
	}
	a.Put(&tandemv1.Event{
		Id:      fmt.Sprintf("%020d.%03d", a.tx.Index(), a.events),
		Time:    a.now,
		Level:   level,
		Noun:    about.noun,
		Subject: about.id,
		Name:    about.name,
		JobId:   about.job,
		Type:    what,
		Args:    state.Args(pairs...),
		Cause:   cause,
	})
	a.events++
}

// jobEvent is an event about a job.
func (a *applier) jobEvent(level string, what tandemv1.Event_Type, j *tandemv1.Job, cause *tandemv1.Reason, pairs ...any) {
	a.record(level, what, subject{noun: "job", id: j.GetId(), name: label(j), job: j.GetId()}, cause, pairs...)
}

// trialEvent is an event about a trial of a job. Of those of a sweep only what is no good news is kept: they are many, and their
// rows say where they are.
func (a *applier) trialEvent(level string, what tandemv1.Event_Type, j *tandemv1.Job, t *tandemv1.Trial, cause *tandemv1.Reason, pairs ...any) {
	switch {
	case !state.OfSweep(t):
		a.jobEvent(level, what, j, cause, pairs...)
	case level != infoLevel:
		a.jobEvent(level, what, j, cause, append(pairs, "trial", t.GetNumber())...)
	}
}

// label names a job for people.
func label(j *tandemv1.Job) string {
	if j.GetName() == "" {
		return j.GetId()
	}
	return j.GetName()
}
