package fsm

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// edit changes a row and returns it as it is then. It is the only way to change one: find looks the row up as it is now, whatever
// the caller has seen of it before, and change gets a copy. Without such a row nothing happens, and the zero value is returned.
func edit[T proto.Message](a *applier, find func(id string) (T, bool), id string, change func(T)) T {
	old, ok := find(id)
	if !ok {
		return old
	}
	row := copyOf(old)
	change(row)
	a.Put(row)
	return row
}

// editCluster is edit for the one row there is of the cluster.
func (a *applier) editCluster(change func(*tandemv1.Cluster)) *tandemv1.Cluster {
	return edit(a, func(string) (*tandemv1.Cluster, bool) { return a.Cluster() }, "", change)
}

// copyOf returns a copy of a row, to change and put. Of rows that may be large, what nobody changes is shared.
func copyOf[T proto.Message](row T) T {
	var c proto.Message
	switch row := any(row).(type) {
	case *tandemv1.Job:
		c = state.CopyJob(row)
	case *tandemv1.Trial:
		c = state.CopyTrial(row)
	case *tandemv1.Sweep:
		c = state.CopySweep(row)
	default:
		c = proto.Clone(row.(proto.Message))
	}
	return c.(T)
}

// Put is how rows come into the state, new ones too. A trial is counted by its sweep and followed by its job.
func (a *applier) Put(row proto.Message) {
	t, ok := row.(*tandemv1.Trial)
	if !ok {
		a.tx.Put(row)
		return
	}
	old, _ := a.Trial(t.GetId())
	a.tx.Put(t)
	a.countTrial(t, old.GetState())
	a.follow(t.GetJobId())
}

// Delete removes a row; without it nothing happens.
func (a *applier) Delete(row proto.Message) { a.tx.Delete(row) }

// follow notes that something has changed that the state of a job follows from: one of its trials, its search, or what is wanted of it.
func (a *applier) follow(job string) {
	if !slices.Contains(a.behind, job) {
		a.behind = append(a.behind, job)
	}
}

// followAll brings the jobs that are behind to where their trials are. It ends a command and each part of one: a report, and what
// the loss of a node means to an allocation.
func (a *applier) followAll() {
	for _, id := range a.behind {
		a.followTrials(id)
	}
	a.behind = a.behind[:0] // what a job has changed while it followed it has taken into account
}
