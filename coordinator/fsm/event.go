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
type subject struct{ noun, id, name, job, project string }

func aboutNode(n *tandemv1.Node) subject {
	return subject{noun: "node", id: n.GetId(), name: nodeName(n)}
}

func aboutCoordinator(id string) subject { return subject{noun: "coordinator", id: id, name: id} }

func aboutModel(m *tandemv1.Model, job string) subject {
	return subject{noun: "model", id: m.GetName(), name: m.GetName(), job: job, project: m.GetProject()}
}

func aboutCheckpoint(c *tandemv1.Checkpoint) subject {
	return subject{noun: "checkpoint", id: c.GetId(), name: c.GetId(), job: c.GetJobId()}
}

func aboutDataset(d *tandemv1.Dataset) subject {
	return subject{noun: "dataset", id: d.GetId(), name: d.GetName(), project: d.GetProject()}
}

func aboutDeployment(key string) subject {
	project, name := state.SplitKey(key)
	return subject{noun: "deployment", id: name, name: name, project: project}
}

func aboutProject(name string) subject {
	return subject{noun: "project", id: name, name: name, project: name}
}

func aboutToken(t *tandemv1.Token) subject {
	return subject{noun: "token", id: t.GetId(), name: t.GetName(), project: t.GetProject()}
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
		Project: projectOf(a, about),
	})
	a.events++
}

// projectOf is the project that an event says: that of its subject, or of the job that this belongs to, where it is not the default one.
func projectOf(a *applier, about subject) string {
	if about.project == "" && about.job != "" {
		j, _ := a.Job(about.job)
		about.project = j.GetProject()
	}
	if about.project == state.DefaultProject {
		return ""
	}
	return about.project
}

// jobEvent is an event about a job.
func (a *applier) jobEvent(level string, what tandemv1.Event_Type, j *tandemv1.Job, cause *tandemv1.Reason, pairs ...any) {
	a.record(level, what, subject{noun: "job", id: j.GetId(), name: label(j), job: j.GetId(), project: j.GetProject()}, cause, pairs...)
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
