package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// silent is a reporter that reports nothing.
type silent struct{}

func (silent) update(*tandemv1.WatchJobResponse) {}
func (silent) sweep(*tandemv1.GetSweepResponse)  {}
func (silent) note(string)                       {}
func (silent) close()                            {}

// ending is what became of one of several jobs.
type ending struct {
	place int // in the command line
	last  *tandemv1.WatchJobResponse
	err   error
}

// awaitSeveral follows jobs until all have ended, or any one. It shows each as it ends, and returns the error of the first in the
// order of ids that did not complete.
func (a *app) awaitSeveral(ctx context.Context, c *client.Client, ids []string, timeout time.Duration, anyOne bool) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	if timeout > 0 {
		watching, cancel = context.WithTimeoutCause(watching, timeout, errTimeout)
		defer cancel()
	}
	ends := make(chan ending, len(ids))
	for i, id := range ids {
		go func() {
			last, err := follow(watching, c, id, silent{})
			ends <- ending{i, last, err}
		}()
	}
	results := make([]error, len(ids))
	going := ids
	for range ids {
		e := <-ends
		switch {
		case ctx.Err() != nil:
			a.say("\nDetached. The jobs go on; wait for them again with `tandem wait %s`.", strings.Join(going, " "))
			return &silentError{errInterrupted}
		case errors.Is(context.Cause(watching), errTimeout) && e.err != nil:
			return fmt.Errorf("%w; jobs that go on: wait for them again with `tandem wait %s`", errTimeout, strings.Join(going, " "))
		case e.err != nil:
			results[e.place] = e.err
		default:
			j := e.last.GetJob()
			results[e.place] = a.ended(j, "Its log: tandem logs %s", a.show(e.last, text(endLine(j))))
		}
		if anyOne {
			return results[e.place]
		}
		going = without(going, ids[e.place])
	}
	for _, err := range results {
		if err != nil {
			return err
		}
	}
	return nil
}

// endLine says in one line how a job ended.
func endLine(j *tandemv1.Job) string {
	line := fmt.Sprintf("%s (%s) %s after %s", j.GetId(), j.GetName(), plain.Word(j.GetState()), between(j.GetStartedAt(), j.GetFinishedAt()))
	if j.GetStartedAt() == nil {
		line = fmt.Sprintf("%s (%s) %s", j.GetId(), j.GetName(), plain.Word(j.GetState()))
	}
	switch {
	case j.GetState() != tandemv1.JobState_JOB_STATE_COMPLETED && j.GetReason() != "":
		line += ": " + j.GetReason()
	case j.GetPublishedVersion() != "":
		line += ", published " + j.GetPublishedVersion()
	}
	return line
}

func without(all []string, one string) (rest []string) {
	for _, s := range all {
		if s != one {
			rest = append(rest, s)
		}
	}
	return rest
}
