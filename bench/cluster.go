package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	tandem  = "bin/tandem"
	idleFor = 20 * time.Second
)

// cluster measures a cluster of "tandem up": submit to first step, and what an idle coordinator needs.
func cluster(ctx context.Context, c Config) ([]Figure, error) {
	up, err := startUp(ctx)
	if err != nil {
		return nil, err
	}
	defer up.stop()
	if err := up.prepare(ctx); err != nil {
		return nil, err
	}
	var firstStep, memory, cpu []float64
	for run := range c.Runs {
		took, err := up.submitToFirstStep(ctx)
		if err != nil {
			return nil, fmt.Errorf("submit to first step, run %d: %w", run+1, err)
		}
		fmt.Printf("submit to first step, run %d: %.2f s\n", run+1, took.Seconds())
		firstStep = append(firstStep, took.Seconds())
	}
	for range c.Runs {
		mb, percent, err := up.idleCoordinator(ctx)
		if err != nil {
			return nil, fmt.Errorf("idle coordinator: %w", err)
		}
		memory, cpu = append(memory, mb), append(cpu, percent)
	}
	return []Figure{
		below("submit_to_first_step", "s", firstStep, 2),
		below("coordinator.idle.memory", "MB", memory, 100),
		below("coordinator.idle.cpu", "% of a core", cpu, 2),
	}, nil
}

// upCluster is a "tandem up" in a folder of its own.
type upCluster struct {
	dir string
	cmd *exec.Cmd
	env []string
	api *client.Client
}

func startUp(ctx context.Context, engineEnv ...string) (*upCluster, error) {
	dir, err := os.MkdirTemp("", "tandem-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the cluster: %w", err)
	}
	up := &upCluster{dir: dir, env: append(os.Environ(), "TANDEM_CONFIG="+filepath.Join(dir, "contexts.yaml"))}
	up.cmd = exec.CommandContext(ctx, tandem, "up", "--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0")
	for _, e := range engineEnv {
		up.cmd.Args = append(up.cmd.Args, "--engine-env", e)
		if _, folder, _ := strings.Cut(e, "="); filepath.IsAbs(folder) {
			up.cmd.Args = append(up.cmd.Args, "--engine-write", folder)
		}
	}
	up.cmd.Env, up.cmd.Stderr = up.env, os.Stderr
	if err := up.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s (make build makes it): %w", tandem, err), os.RemoveAll(dir))
	}
	return up, nil
}

// prepare waits for the cluster and makes the dataset.
func (up *upCluster) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for up.nodes(ctx) < 2 {
		if err := client.Sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the cluster: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, tandem, "dataset", "create", "digits", "--from", "examples/digits/digits.csv",
		"--label", "label", "--shape", "1,8,8", "--normalize", "scale:1/16")
	cmd.Env = up.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make the dataset: %w: %s", err, out)
	}
	return nil
}

// nodes counts the workers, 0 as long as nothing answers.
func (up *upCluster) nodes(ctx context.Context) int {
	if up.api == nil {
		file, err := client.Load(filepath.Join(up.dir, "contexts.yaml"))
		if err != nil {
			return 0
		}
		found, err := file.Get("local")
		if err != nil {
			return 0
		}
		if up.api, err = client.New(found, client.DefaultPatience(), "tandem-bench"); err != nil {
			return 0
		}
	}
	res, err := up.api.Nodes.ListNodes(ctx, connect.NewRequest(&tandemv1.ListNodesRequest{}))
	if err != nil {
		return 0
	}
	return len(res.Msg.GetNodes())
}

// submitToFirstStep submits a job of two ranks and takes the time until a client sees its first step, then cancels it.
func (up *upCluster) submitToFirstStep(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	begin := time.Now()
	res, err := up.api.Jobs.SubmitJob(ctx, connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{
		Name: "bench", Dataset: "digits",
		Model:     &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{64}}}},
		Training:  &tandemv1.TrainingSpec{Batch: 64, Epochs: 10000},
		Resources: &tandemv1.ResourceSpec{Workers: 2},
	}}))
	if err != nil {
		return 0, fmt.Errorf("submit: %w", err)
	}
	id := res.Msg.GetJob().GetId()
	took, err := up.firstStep(ctx, id, begin)
	if err != nil {
		return 0, err
	}
	_, err = up.api.Jobs.SetJobIntent(ctx, connect.NewRequest(&tandemv1.SetJobIntentRequest{
		Id: id, Intent: tandemv1.JobIntent_JOB_INTENT_CANCEL,
	}))
	if err != nil {
		return 0, fmt.Errorf("cancel: %w", err)
	}
	return took, up.settled(ctx)
}

func (up *upCluster) firstStep(ctx context.Context, id string, begin time.Time) (time.Duration, error) {
	watch, err := up.api.Jobs.WatchJob(ctx, connect.NewRequest(&tandemv1.WatchJobRequest{Id: id}))
	if err != nil {
		return 0, fmt.Errorf("watch: %w", err)
	}
	defer watch.Close()
	for watch.Receive() {
		for _, p := range watch.Msg().GetProgress() {
			if p.GetStep() > 0 {
				return time.Since(begin), nil
			}
		}
		if j := watch.Msg().GetJob(); j.GetFinishedAt() != nil {
			return 0, fmt.Errorf("the job ended before its first step: %s", j.GetReason())
		}
	}
	return 0, fmt.Errorf("watch: %w", watch.Err())
}

// settled waits until no engine is left, so that the cluster is idle again.
func (up *upCluster) settled(ctx context.Context) error {
	for {
		if _, err := up.process("tandem-engine"); errors.Is(err, errNoProcess) {
			return nil
		}
		if err := client.Sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the engines to end: %w", err)
		}
	}
}

// idleCoordinator measures resident memory in MB and the use of a core in percent.
func (up *upCluster) idleCoordinator(ctx context.Context) (mb, percent float64, err error) {
	pid, err := up.process("coordinator")
	if err != nil {
		return 0, 0, err
	}
	before, err := cpuSeconds(pid)
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if err := client.Sleep(ctx, idleFor); err != nil {
		return 0, 0, err
	}
	after, err := cpuSeconds(pid)
	if err != nil {
		return 0, 0, err
	}
	mb, err = memoryMB(pid, "VmRSS")
	return mb, 100 * (after - before) / time.Since(begin).Seconds(), err
}

var errNoProcess = errors.New("no such process of the cluster")

// process finds a process of the cluster by a word of its command line.
func (up *upCluster) process(word string) (int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		args := strings.Split(string(text), "\x00")
		if len(args) > 1 && (filepath.Base(args[0]) == word || args[1] == word) && strings.Contains(string(text), up.dir) {
			return strconv.Atoi(filepath.Base(filepath.Dir(path)))
		}
	}
	return 0, fmt.Errorf("%w: %s", errNoProcess, word)
}

// cpuSeconds is the processor time of a process so far.
func cpuSeconds(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	const user, system, ticksPerSecond = 11, 12, 100 // of what follows the name; Linux counts in hundredths for everyone
	if len(fields) <= system {
		return 0, fmt.Errorf("read processor time: %q is too short", text)
	}
	u, err1 := strconv.ParseFloat(fields[user], 64)
	s, err2 := strconv.ParseFloat(fields[system], 64)
	return (u + s) / ticksPerSecond, errors.Join(err1, err2)
}

// memoryMB is a line of /proc/PID/status: VmRSS is what a process has in memory, VmHWM the most that it had.
func memoryMB(pid int, name string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read resident memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, name+":"); ok {
			v, err := strconv.ParseFloat(strings.Fields(kb)[0], 64)
			return v / 1024, err
		}
	}
	return 0, fmt.Errorf("read resident memory: no %s", name)
}

// stop ends the cluster as Ctrl-C does and removes its folder.
func (up *upCluster) stop() {
	if up.api != nil {
		up.api.Close()
	}
	_ = up.cmd.Process.Signal(syscall.SIGINT) // it may have ended already
	_ = up.cmd.Wait()                         // the exit code of Ctrl-C
	if err := os.RemoveAll(up.dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench: remove the folder of the cluster:", err)
	}
}
