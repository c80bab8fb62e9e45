package main

import (
	"context"
	"errors"
	"os/exec"
	"syscall"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/spec"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/agent"
)

// Exit codes. They are a promise to scripts: see exitCodesTopic.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitFailed      = 3
	exitCancelled   = 4
	exitNotFound    = 5
	exitUnreachable = 6
	exitTimeout     = 7
	exitDenied      = 8
	exitConflict    = 9
	exitFull        = 10
	exitEngine      = 11
	exitRemoved     = 12
	exitInterrupted = 130
)

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `Exit codes of tandem:

    0  done
    1  an error that is none of these
    2  the command line or the spec cannot be right; nothing was done
    3  the job or the sweep failed (submit --wait, wait, model publish), or the accuracy of the demo is too low
    4  the job was cancelled
    5  what was named was not found
    6  no cluster is known, or no coordinator answers, or none that can serve
    7  --timeout ended before what was waited for
    8  the token is not known, has ended, or may not do this
    9  the state does not allow it, or it already exists
   10  the disk is full
   11  there is no tandem-engine here that works
   12  a worker or coordinator was removed from its cluster: to start it again does not help
  130  interrupted with Ctrl-C; a job that was followed goes on`,
	}
}

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// jobError says that a job did not end with its work done.
type jobError struct{ job *tandemv1.Job }

func (e *jobError) Error() string {
	text := e.job.GetId() + " " + plain.Word(e.job.GetState())
	if e.job.GetReason() != "" {
		text += ": " + e.job.GetReason()
	}
	return text
}

// errTimeout means that --timeout ended first.
var errTimeout = errors.New("the time given by --timeout is over")

// errInterrupted means that the user wants to go.
var errInterrupted = errors.New("interrupted")

// silentError has been shown already.
type silentError struct{ err error }

func (e *silentError) Error() string { return e.err.Error() }
func (e *silentError) Unwrap() error { return e.err }

// exitCode is the one table from errors to exit codes.
func exitCode(err error) int {
	var usage *usageError
	var bad *spec.Error
	var job *jobError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage), errors.As(err, &bad), errors.Is(err, client.ErrEnvironment):
		return exitUsage
	case errors.As(err, &job):
		if job.job.GetState() == tandemv1.JobState_JOB_STATE_CANCELLED {
			return exitCancelled
		}
		return exitFailed
	case errors.Is(err, errTimeout):
		return exitTimeout
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, client.ErrUnreachable), errors.Is(err, client.ErrNoContext):
		return exitUnreachable
	case errors.Is(err, client.ErrUnknownContext):
		return exitNotFound
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), childCode(err) == exitFull:
		return exitFull
	case errors.Is(err, agent.ErrEngine), childCode(err) == exitEngine:
		return exitEngine
	case errors.Is(err, identity.ErrRemoved), childCode(err) == exitRemoved:
		return exitRemoved
	}
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument:
		return exitUsage
	case connect.CodeNotFound:
		return exitNotFound
	case connect.CodeUnavailable:
		return exitUnreachable
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		return exitDenied
	case connect.CodeAlreadyExists, connect.CodeFailedPrecondition, connect.CodeAborted:
		return exitConflict
	case connect.CodeDeadlineExceeded:
		return exitTimeout
	case connect.CodeCanceled:
		return exitInterrupted
	}
	return exitError
}

// childCode is the exit code of the child process that an error is about; 0 for none. Those of up are this program too.
func childCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}
