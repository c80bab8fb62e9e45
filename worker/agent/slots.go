package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/sandbox"
)

const (
	deviceCPU  = "cpu"
	deviceCUDA = "cuda"
	engineName = "tandem-engine"
)

// ErrEngine means that this machine has no engine that works: there is none, or it cannot say what devices it has.
var ErrEngine = errors.New("no engine that works")

// discovery is what "tandem-engine devices" prints.
type discovery struct {
	LibtorchVersion string   `json:"libtorch_version"`
	Devices         []device `json:"devices"`
}

type device struct {
	Kind        string `json:"kind"`
	Index       int32  `json:"index"`
	Name        string `json:"name"`
	MemoryBytes int64  `json:"memory_bytes"`
}

// discover asks the engine what devices its libtorch has. It is confined as it will be at work, so that what it cannot reach then is known now.
func (a *Agent) discover(ctx context.Context, h sandbox.Host) (discovery, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // the first CUDA start is slow
	defer cancel()
	e := &engine{task: &tandemv1.EngineTask{Id: "devices"}, scratch: a.path("scratch", "devices"), user: a.cfg.user(h)}
	if err := e.makeHome(); err != nil {
		return discovery{}, err
	}
	n := need(e)
	n.CUDA = true // it may be
	program, err := openProgram(h.Program)
	if err != nil {
		return discovery{}, fmt.Errorf("%w: %w", ErrEngine, err)
	}
	defer program.Close()
	cmd := exec.Command(h.Program, "devices") //nolint:gosec // the operator's own engine binary
	cmd.Path = fmt.Sprintf("/proc/self/fd/%d", program.Fd())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(environmentOf(os.Environ()), "HOME="+ownFolder, "TMPDIR="+ownFolder)
	cmd.Env = append(cmd.Env, a.cfg.EngineEnv...)
	if err := h.Policy(n, sandbox.Glob).Run(ctx, cmd); err != nil {
		return discovery{}, fmt.Errorf("%w: ask %s for devices: %w: %s%s", ErrEngine, h.Program, err, lastLine(errs.String()), a.cfg.reachable(h))
	}
	var d discovery
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		return discovery{}, fmt.Errorf("%w: read what \"%s devices\" printed: %w", ErrEngine, h.Program, err)
	}
	return d, nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// slotsOf decides what a node offers: want CPU slots, or when want is 0 its CUDA devices, or one CPU slot if there is
// none. Every slot has its share of the cores as threads, at least one.
func slotsOf(devices []device, want, cores int) []*tandemv1.Slot {
	var slots []*tandemv1.Slot
	if want == 0 {
		for _, d := range devices {
			if d.Kind == deviceCUDA {
				slots = append(slots, &tandemv1.Slot{
					Id: deviceCUDA + strconv.Itoa(int(d.Index)), Device: deviceCUDA, Index: d.Index, Name: d.Name, MemoryBytes: d.MemoryBytes,
				})
			}
		}
	}
	if len(slots) == 0 {
		name := "CPU"
		for _, d := range devices {
			if d.Kind == deviceCPU && d.Name != "" {
				name = d.Name
			}
		}
		for i := range max(1, want) {
			slots = append(slots, &tandemv1.Slot{Id: deviceCPU + strconv.Itoa(i), Device: deviceCPU, Index: int32(i), Name: name})
		}
	}
	for _, s := range slots {
		s.Threads = int32(max(1, cores/len(slots)))
	}
	return slots
}

// findEngine looks for the engine beside this program, then on the PATH.
func findEngine() (string, error) {
	if self, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(self), engineName)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(engineName)
	if err != nil {
		return "", fmt.Errorf("%w: there is no tandem-engine beside this program or on the PATH; build it with \"make build\", or name it with --engine", ErrEngine)
	}
	return filepath.Abs(path)
}
