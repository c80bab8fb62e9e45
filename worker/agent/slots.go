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

// discover asks the engine what devices its libtorch has.
func discover(ctx context.Context, binary string, env []string) (discovery, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // the first CUDA start is slow
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "devices") //nolint:gosec // the operator's own engine binary
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, env
	if err := cmd.Run(); err != nil {
		return discovery{}, fmt.Errorf("%w: ask %s for devices: %w: %s", ErrEngine, binary, err, lastLine(errs.String()))
	}
	var d discovery
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		return discovery{}, fmt.Errorf("%w: read what \"%s devices\" printed: %w", ErrEngine, binary, err)
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
