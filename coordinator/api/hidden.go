package api

import (
	"context"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// another stands for a job that the caller does not see: slots are everybody's, so that what waits may wait for what others have.
const another = "a job of another project"

// hidden is why something waits, without the names of what the caller does not see.
func hidden(v *state.View, why *tandemv1.Reason) *tandemv1.Reason {
	first := why.GetArgs()["first"]
	if _, seen := v.Job(first); first == "" || seen {
		return why
	}
	args := maps.Clone(why.GetArgs())
	delete(args, "first")
	args["first_name"] = another
	return &tandemv1.Reason{Code: why.GetCode(), Args: args, Cause: why.GetCause()}
}

// outlook is what is ahead of a job, worked out from the whole state, without the names of what the caller does not see.
func (a *API) outlook(ctx context.Context, v *state.View, job *tandemv1.Job, trial *tandemv1.Trial) *tandemv1.Outlook {
	o := a.deps.Outlook(v.Whole(), job, trial, time.Now())
	if o == nil || From(ctx).Project == state.AllProjects {
		return o
	}
	o = proto.CloneOf(o)
	o.Why = hidden(v, o.GetWhy())
	for i, name := range o.GetAhead() {
		if _, seen := v.Job(name); !seen && len(v.JobsNamed(name)) == 0 {
			o.Ahead[i] = another
		}
	}
	hide := func(all []*tandemv1.Freed) {
		for _, f := range all {
			if _, seen := v.Job(f.GetJobId()); !seen {
				f.JobId, f.Job = "", another
			}
		}
	}
	hide(o.GetFrees())
	for _, c := range o.GetChanges() {
		hide(c.GetFrees())
	}
	return o
}
