package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/model"
	"tandem.dev/worker/sandbox"
	"tandem.dev/worker/seal"
	"tandem.dev/worker/torch"
)

const (
	// startBudget is what the sandbox may add to the start of an engine, in milliseconds.
	startBudget = 5
	// stepBudget is the least share of its speed that a training keeps in the sandbox.
	stepBudget = 0.99
)

// confined trains the MLP on one rank, in the sandbox of an engine and without it, in turn: how long until libtorch is loaded and the sandbox
// closed, and how fast the steps are.
func confined(ctx context.Context, c Config) ([]Figure, error) {
	dir, err := os.MkdirTemp("", "tandem-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the model: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // engines are another user
		return nil, fmt.Errorf("open the folder of the model: %w", err)
	}
	file := filepath.Join(dir, "mlp.pt")
	if err := writeMLP(file); err != nil {
		return nil, err
	}
	var starts, added, speeds, plain []float64
	for run := range 3 * c.Runs {
		open, err := confinedOnce(ctx, c, dir, file, false)
		if err != nil {
			return nil, err
		}
		closed, err := confinedOnce(ctx, c, dir, file, true)
		if err != nil {
			return nil, err
		}
		fmt.Printf("sandbox, run %d: start %.1f ms (without %.1f), %.0f samples/s (without %.0f)\n", run+1, closed.start, open.start,
			closed.Speed, open.Speed)
		starts, added = append(starts, closed.start), append(added, closed.start-open.start)
		speeds, plain = append(speeds, closed.Speed), append(plain, open.Speed)
	}
	return []Figure{
		below("sandbox.start_added", "ms", added, startBudget),
		below("sandbox.start", "ms", starts, 1000),
		against("sandbox.step", "samples/s", speeds, plain, "the same without the sandbox", stepBudget),
	}, nil
}

// writeMLP writes the model of the first workload, as an engine builds it.
func writeMLP(file string) error {
	w := workloads[0]
	m, err := model.Build(&tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{512, 512}}}},
		w.shape, 10, 1)
	if err != nil {
		return fmt.Errorf("build the model: %w", err)
	}
	defer m.Close()
	b, err := m.Save()
	if err != nil {
		return fmt.Errorf("save the model: %w", err)
	}
	return os.WriteFile(file, b, 0o644) //nolint:gosec // another user reads it
}

// once is one run of a rank: when it was ready, and how fast it was.
type once struct {
	Ready int64   `json:"ready"` // Unix nanoseconds
	Speed float64 `json:"samples_per_second"`
	start float64 // ms
}

func confinedOnce(ctx context.Context, c Config, dir, file string, closed bool) (once, error) {
	self, err := os.Executable()
	if err != nil {
		return once{}, fmt.Errorf("find own binary: %w", err)
	}
	cmd := exec.Command(self, "rank", "-model", file, "-name", workloads[0].model, "-seconds", fmt.Sprint(c.Seconds/4),
		fmt.Sprintf("-seal=%v", closed))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "HOME=/proc/self/cwd", "TMPDIR=/proc/self/cwd")
	home := filepath.Join(dir, "home")
	user := sandbox.Own
	features := sandbox.Detect()
	if features.User {
		user = 65534
	}
	err = os.MkdirAll(home, 0o700)
	if err == nil && user != sandbox.Own {
		err = os.Chown(home, user, user)
	}
	if err != nil {
		return once{}, fmt.Errorf("make a folder for the rank: %w", err)
	}
	begin := time.Now()
	if closed {
		program, err := os.Open(self)
		if err != nil {
			return once{}, fmt.Errorf("open own binary: %w", err)
		}
		defer program.Close()
		cmd.Path = fmt.Sprintf("/proc/self/fd/%d", program.Fd())
		host := sandbox.Host{Features: features, Program: self, Libraries: sandbox.Libraries(self, os.Getenv("LD_LIBRARY_PATH")),
			Read: []string{file}}
		begin = time.Now()
		err = host.Policy(sandbox.Need{Home: home, User: user}, sandbox.Glob).Run(ctx, cmd)
		if err != nil {
			return once{}, fmt.Errorf("rank in the sandbox: %w: %s", err, errs.String())
		}
	} else {
		cmd.Dir = home
		if err := cmd.Run(); err != nil {
			return once{}, errors.Join(fmt.Errorf("rank: %w: %s", err, errs.String()), ctx.Err())
		}
	}
	var o once
	if err := json.Unmarshal(out.Bytes(), &o); err != nil {
		return once{}, fmt.Errorf("read what the rank printed: %w", err)
	}
	o.start = float64(o.Ready-begin.UnixNano()) / 1e6
	return o, nil
}

// ready gives up what an engine gives up, if asked to, and says when that was done.
func ready(closed bool) (int64, error) {
	if err := torch.Init(torch.Options{Threads: 1, Deterministic: true}); err != nil {
		return 0, fmt.Errorf("set libtorch up: %w", err)
	}
	if closed {
		if err := seal.Close(seal.Options{Memory: 16 << 30, Threads: 4096, Files: 8192}); err != nil {
			return 0, err
		}
	}
	return time.Now().UnixNano(), nil
}
