package agent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/cgroup"
	"tandem.dev/worker/sandbox"
)

// Users are the user ids, and group ids of the same numbers, that engines may run as.
type Users struct{ First, Last int }

// nobody is who engines run as where the operator gives no users.
var nobody = Users{First: 65534, Last: 65534}

// ParseUsers reads "200000-200099", or one number.
func ParseUsers(text string) (Users, error) {
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	var u Users
	var err error
	if u.First, err = strconv.Atoi(first); err == nil {
		u.Last, err = strconv.Atoi(last)
	}
	const most = 1<<31 - 1
	if err != nil || u.First < 1 || u.Last < u.First || u.Last > most {
		return Users{}, fmt.Errorf("users of engines: %q is not a range of user ids such as 200000-200099", text)
	}
	return u, nil
}

// of is the user of the next engine: that of the others of its allocation, for they share memory; else one that no engine has. When all are
// taken, which Validate sees to in a range, engines share the last.
func (u Users) of(task *tandemv1.EngineTask, engines map[taskKey]*engine) int {
	taken := map[int]bool{}
	for _, e := range engines {
		if a := allocationOf(task); a != "" && allocationOf(e.task) == a && e.user != sandbox.Own {
			return e.user
		}
		taken[e.user] = true
	}
	for id := u.First; id < u.Last; id++ {
		if !taken[id] {
			return id
		}
	}
	return u.Last
}

func (u Users) count() int { return u.Last - u.First + 1 }

// users are those that engines run as.
func (c Config) users() Users {
	if c.EngineUsers == (Users{}) {
		return nobody
	}
	return c.EngineUsers
}

// user is one of them, or the agent's own where it may not change users.
func (c Config) user(h sandbox.Host) int {
	if !h.Features.User {
		return sandbox.Own
	}
	return c.users().First
}

// reachable is what to do when an engine does not start, if its being another user may be the cause.
func (c Config) reachable(h sandbox.Host) string {
	if !h.Features.User {
		return ""
	}
	return fmt.Sprintf(" (it runs as user %d, who must be able to read it and its libraries; --engine-read names more folders that engines may read)", c.user(h))
}

// ErrSandbox means that this machine has not all parts of the sandbox, which the operator requires.
var ErrSandbox = errors.New("engines cannot be confined as --require-sandbox wants")

// missing says of a part of the sandbox what that means, and what would bring it.
var missing = map[tandemv1.SandboxPart]string{
	tandemv1.SandboxPart_SANDBOX_PART_USER:    "engines run as the agent's own user: start the agent as root, so that they have another",
	tandemv1.SandboxPart_SANDBOX_PART_FILES:   "engines may reach all files of their user: Landlock is missing, which Linux 6.2 or later has (lsm=landlock)",
	tandemv1.SandboxPart_SANDBOX_PART_PORTS:   "engines may call any TCP port: Landlock of Linux 6.7 or later is missing",
	tandemv1.SandboxPart_SANDBOX_PART_SIGNALS: "engines of one user may signal each other but for the filter of system calls: Landlock of Linux 6.12 or later is missing",
	tandemv1.SandboxPart_SANDBOX_PART_CALLS:   "engines may make all system calls: the kernel has no seccomp filters",
	tandemv1.SandboxPart_SANDBOX_PART_MEMORY: "shared memory and processes of an engine are not bounded, its private memory alone: let systemd start the agent with Delegate=yes, " +
		"or give it a cgroup of version 2 of its own",
}

// divide makes the agent's cgroup one that engines can have parts of, if the operator wants that. If it cannot, the error says why.
func divide(f *sandbox.Features, without []tandemv1.SandboxPart) (*cgroup.Tree, error) {
	if slices.Contains(without, tandemv1.SandboxPart_SANDBOX_PART_MEMORY) {
		return nil, nil
	}
	tree, err := cgroup.Claim()
	f.Memory = err == nil
	return tree, err
}

// lack says what is missing with a part of the sandbox.
func lack(part tandemv1.SandboxPart, undivided error) string {
	text := missing[part]
	if part == tandemv1.SandboxPart_SANDBOX_PART_MEMORY && undivided != nil {
		text += " (" + undivided.Error() + ")"
	}
	return text
}

// required says which parts are missing that the operator requires: all but those that he does without.
func (c Config) required(f sandbox.Features, undivided error) error {
	var texts []string
	for _, part := range f.Lacks() {
		if c.RequireSandbox && !slices.Contains(c.SandboxWithout, part) {
			texts = append(texts, lack(part, undivided))
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return fmt.Errorf("%w:\n  %s", ErrSandbox, strings.Join(texts, "\n  "))
}

// sandbox finds out what confines the engines of this node, and says what is missing. groups is nil where engines have no cgroups.
func (a *Agent) sandbox(binary string) (h sandbox.Host, groups *cgroup.Tree, err error) {
	cfg := a.cfg
	f := sandbox.Detect()
	if cfg.EngineUsers != (Users{}) && !f.User {
		return h, nil, fmt.Errorf("engines cannot run as other users (--engine-uids): the agent is not root")
	}
	f = f.Without(cfg.SandboxWithout)
	groups, undivided := divide(&f, cfg.SandboxWithout)
	if err := cfg.required(f, undivided); err != nil {
		return h, nil, err
	}
	for _, part := range f.Lacks() {
		a.deps.Log.Warn().Str("missing", lack(part, undivided)).Msg("a part of the sandbox of engines is missing")
	}
	search := ""
	for _, kv := range append(environmentOf(os.Environ()), cfg.EngineEnv...) {
		if value, ok := strings.CutPrefix(kv, "LD_LIBRARY_PATH="); ok {
			search = value
		}
	}
	memory := cfg.EngineMemory
	if memory == 0 {
		memory = sandbox.MachineMemory() / 10 * 9
	}
	return sandbox.Host{
		Features: f, Program: binary, Libraries: sandbox.Libraries(binary, search), Read: cfg.EngineRead, Write: cfg.EngineWrite,
		Limits: sandbox.Limits{Memory: memory, Threads: engineThreads, Files: engineFiles, Disk: cfg.EngineDisk},
	}, groups, nil
}

// Limits of one engine.
const (
	engineThreads = 4096
	engineFiles   = 8192
)

// need is what the process of an engine needs.
func need(e *engine) sandbox.Need {
	return sandbox.Need{
		Home: e.scratch, User: e.user, CUDA: e.slot.GetDevice() == deviceCUDA, Group: meetsOthers(e.task),
	}
}

// meetsOthers tells whether a task may be one of several ranks, on other hosts perhaps. A process stays as it was confined, and groups change.
func meetsOthers(task *tandemv1.EngineTask) bool {
	r := task.GetTrain().GetSpec().GetResources()
	return max(r.GetWorkers(), r.GetMax()) > 1
}

// arguments are those of the process of a task.
func arguments(task *tandemv1.EngineTask, slot *tandemv1.Slot, p sandbox.Policy) []string {
	args := []string{"run"}
	if slot.GetDevice() == deviceCUDA {
		args = append(args, "--devices")
	}
	if !p.Features.Seccomp {
		args = append(args, "--unfiltered")
	}
	for _, l := range []struct {
		flag  string
		value int64
	}{{"--max-memory", p.Limits.Memory}, {"--max-threads", p.Limits.Threads}, {"--max-files", p.Limits.Files}} {
		if l.value > 0 {
			args = append(args, l.flag, strconv.FormatInt(l.value, 10))
		}
	}
	return append(args, "--engine", task.GetId())
}
