package command

import (
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Exit codes of a shell for a program that it could not start.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// End is how the process of a rank ended.
type End struct {
	Signal  syscall.Signal // 0: it exited by itself
	Code    int
	Stopped bool // SIGTERM was sent to it, because its job is cancelled, parked or paused
}

// Report is a rank's last word. permanent are the exit codes after which the spec wants no other try.
//
// What was told to stop has stopped, whatever its exit code: a script that saves when it gets the signal often exits with 0. Had it in fact
// been done, the next run finds that from what it kept, and ends at once; the other way round work would be lost.
func (e End) Report(permanent []int) *tandemv1.EngineReport {
	failed := func(forGood bool, format string, args ...any) *tandemv1.EngineReport {
		f := &tandemv1.EngineFailed{Message: fmt.Sprintf(format, args...), Permanent: forGood}
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Failed{Failed: f}}
	}
	switch {
	case e.Stopped:
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{}}}
	case e.Signal != 0:
		return failed(false, "the program was ended by signal %s: see the end of its log", unix.SignalName(e.Signal))
	case e.Code == 0:
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}}
	case e.Code == codeNotFound:
		return failed(true, "the program was not found (exit code %d): name one of the work folder (./NAME), or one that nodes have", e.Code)
	case e.Code == codeNotExecutable:
		return failed(true, "the program may not be executed (exit code %d): make it executable (chmod +x) and submit again", e.Code)
	}
	return failed(slices.Contains(permanent, e.Code), "the program ended with exit code %d: see the end of its log", e.Code)
}
