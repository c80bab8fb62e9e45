package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/line"
	"tandem.dev/worker/sandbox"
)

// engine is a task and its process. The supervisor's lock guards what changes.
type engine struct {
	task    *tandemv1.EngineTask
	slot    *tandemv1.Slot
	threads int
	scratch string // of its process, whatever task that is at
	user    int    // of its process; or sandbox.Own
	socket  string // to serve on; only of replicas
	log     *engineLog
	told    chan struct{} // closed and replaced when the orders change
	gone    chan struct{} // closed when its process is gone or has gone on to another task

	orders  orders
	proc    *runner
	phase   phase
	fenced  bool
	greeted bool   // it has asked for its task
	hung    bool   // it does not answer any more
	full    string // it takes too much disk: how
	heard   bool   // it gave a sign of life since it was asked last
	started time.Time
	termed  time.Time
	spoke   time.Time // when it reported how it ends
	outcome string    // what it reported then
	failed  string    // why it failed, if it reported that
	idle    time.Time // when it asked for another task
	handed  bool      // its process had another task before
	next    string    // id of the task that its process went on to
	quiet   bool      // nobody waits for a report of its end
	reason  string    // why the agent ended it
}

func (e *engine) view() engineView {
	idle := e.idle
	if e.proc.dead {
		idle = time.Time{}
	}
	return engineView{
		key: keyOf(e.task), slot: e.task.GetSlotId(), phase: e.phase, fenced: e.fenced, hung: e.hung, full: e.full,
		started: e.started, termed: e.termed, spoke: e.spoke, idle: idle, orders: e.orders, trains: !isReplica(e.task),
		job: e.task.GetTrain().GetJobId(), handed: e.handed,
	}
}

// mayGoOn tells whether its process may get another task: it trained for a sweep, that is over, and nothing was wrong with it. It needs
// the supervisor's lock.
func (e *engine) mayGoOn() bool {
	return e.task.GetTrain().GetInSweep() && (e.outcome == "finished" || e.outcome == "stopped") && e.phase < phaseTerminating
}

// tell changes the orders. It needs the supervisor's lock.
func (e *engine) tell(o orders) {
	e.orders = o
	close(e.told)
	e.told = make(chan struct{})
}

// isReplica tells whether a task may have a second process: a replica has no state.
func isReplica(t *tandemv1.EngineTask) bool { return t.GetServe() != nil }

// trialOf is the trial a task works for; empty for replicas.
func trialOf(t *tandemv1.EngineTask) string {
	if p := t.GetPublish(); p != nil {
		return p.GetTrialId()
	}
	return t.GetTrain().GetTrialId()
}

// allocationOf is the allocation a task belongs to; empty for replicas.
func allocationOf(t *tandemv1.EngineTask) string {
	if p := t.GetPublish(); p != nil {
		return p.GetAllocationId()
	}
	return t.GetTrain().GetAllocationId()
}

// lastWord tells whether an engine ends after this report, and how.
func lastWord(r *tandemv1.EngineReport) (outcome string, ok bool) {
	switch {
	case r.GetFinished() != nil:
		return "finished", true
	case r.GetStopped() != nil:
		return "stopped", true
	case r.GetFailed() != nil:
		return "failed", true
	}
	return "", false
}

// failure is the report of an engine that ended without a last word.
func failure(task *tandemv1.EngineTask, message string) *tandemv1.EngineReport {
	return failureOf(keyOf(task), message)
}

func failureOf(key taskKey, message string) *tandemv1.EngineReport {
	return &tandemv1.EngineReport{
		EngineId: key.id, Generation: key.generation,
		Report: &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: message}},
	}
}

// obituary says for people how an engine ended that did not say so itself.
func obituary(x exit, ended string, tail []string) string {
	var b strings.Builder
	switch {
	case ended != "":
		fmt.Fprintf(&b, "the engine was ended by its agent: %s", ended)
	case x.signal == syscall.SIGKILL && x.oomKill && x.limit > 0:
		fmt.Fprintf(&b, "the engine was killed because it used all of the memory that an engine may have on this node, %d MiB: use a smaller batch or model, more micro_batches, "+
			"or raise --engine-memory-mib of the worker", x.limit>>20)
	case x.signal == syscall.SIGKILL && x.oomKill:
		b.WriteString("the engine was killed because the machine ran out of memory: use a smaller batch or model, more micro_batches, or a machine with more memory")
	case unreadable(x):
		b.WriteString("libtorch crashed while it read the file of the model, and would again: see what torch.jit.load says of it " +
			"on another machine, and write that part of the model in another way")
	case x.signal == syscall.SIGKILL:
		b.WriteString("the engine was killed by SIGKILL from outside: by a person, or because a limit on memory was reached")
	case x.signal != 0 && x.signal != syscall.SIGABRT:
		fmt.Fprintf(&b, "the engine died of %s in the code of the model or of libtorch: memory that is not its own, or a stack that was full", unix.SignalName(x.signal))
	case x.signal != 0:
		b.WriteString("the engine died of SIGABRT: a library gave up")
	default:
		fmt.Fprintf(&b, "the engine ended without a word (%v)", x)
	}
	if len(tail) > 0 && !unreadable(x) && (x.signal == 0 || x.signal == syscall.SIGABRT) { // others had no time to say anything about it
		b.WriteString("; its last lines:\n")
		b.WriteString(strings.Join(tail, "\n"))
	}
	return b.String()
}

// unreadable tells whether the engine died of the file of a model, as it would of the same file again.
func unreadable(x exit) bool { return x.signal == 0 && x.code == line.ExitUnreadable }

// inherited are the variables of the agent's own environment that engines get. All others stay out, for they may be secrets.
var inherited = map[string]bool{
	"LANG": true, "LC_ALL": true, "TZ": true,
	"LD_LIBRARY_PATH": true, "NVIDIA_VISIBLE_DEVICES": true, "NVIDIA_DRIVER_CAPABILITIES": true,
	"CUDA_HOME": true, "CUDA_CACHE_PATH": true, "GODEBUG": true, "GOTRACEBACK": true,
}

// environmentOf keeps what engines inherit.
func environmentOf(own []string) []string {
	var env []string
	for _, kv := range own {
		if name, _, _ := strings.Cut(kv, "="); inherited[name] {
			env = append(env, kv)
		}
	}
	return env
}

// environment is what an engine on a slot gets: the same for every task, so that a result does not depend on it.
func environment(base, extra []string, slot *tandemv1.Slot, threads int) []string {
	env := append([]string(nil), base...)
	for _, name := range []string{"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"} {
		env = append(env, name+"="+strconv.Itoa(threads))
	}
	visible := "" // none
	if slot.GetDevice() == deviceCUDA {
		visible = strconv.Itoa(int(slot.GetIndex()))
	}
	env = append(env, "CUDA_VISIBLE_DEVICES="+visible, "TMPDIR="+ownFolder, "HOME="+ownFolder)
	return append(env, extra...)
}

// ownFolder is the name by which a process reaches its working folder, whoever it runs as: it may not walk through the folders above.
const ownFolder = "/proc/self/cwd"

// emptyFolder makes dir and removes all that is in it. Its errors are those of os, which name the path.
func emptyFolder(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o700)
}

// makeHome makes the folder that the process of an engine may write to.
func (e *engine) makeHome() error {
	err := emptyFolder(e.scratch)
	if err == nil && e.user != sandbox.Own {
		err = os.Chown(e.scratch, e.user, e.user)
	}
	if err != nil {
		return fmt.Errorf("make the folder for temporary files: %w; see that the agent may write there, and that the disk is not full or read-only", err)
	}
	return nil
}

// emptied removes all that is in dir, which a process may have as its own.
func emptied(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
