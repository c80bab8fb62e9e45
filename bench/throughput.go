package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"tandem.dev/worker/torch"
)

// workload is a model with the figures it has to reach. models.py knows it by the same name and makes the same.
type workload struct {
	model string
	// batch is the rows of a step on each rank.
	batch int
	shape []int64
	// tokens is the number of kinds where a row is a text and each of its tokens has a label; 0 for one label a row.
	tokens    int
	optimizer torch.OptimizerConfig
	// goal is the ratio to reach on two ranks.
	goal float64
}

// goalAlone is the ratio to reach on a single rank.
const goalAlone = 1.1

var workloads = []workload{
	{model: "mlp", batch: 64, shape: []int64{784}, optimizer: sgd, goal: 1.8},
	{model: "resnet8", batch: 32, shape: []int64{3, 32, 32}, optimizer: sgd, goal: 1.15},
	{model: "gpt", batch: 8, shape: []int64{128}, tokens: 256, optimizer: adamw, goal: 1.15},
}

var (
	sgd   = torch.OptimizerConfig{Kind: torch.SGD, Momentum: 0.9}
	adamw = torch.OptimizerConfig{Kind: torch.AdamW, WeightDecay: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
)

// python is Debian's, the one that Debian's python3-torch belongs to: the same libtorch as ours.
const python = "/usr/bin/python3"

// throughput trains each workload on two ranks with one thread each, on our engine's trainer and on PyTorch DDP over the
// same libtorch, in turn. Weights come from one TorchScript file; data lie in memory.
func throughput(ctx context.Context, c Config) ([]Figure, error) {
	version, err := peerVersion(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tandem-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the models: %w", err)
	}
	defer os.RemoveAll(dir)
	var figures []Figure
	for _, w := range workloads {
		if len(c.Models) > 0 && !slices.Contains(c.Models, w.model) {
			continue
		}
		file := filepath.Join(dir, w.model+".pt")
		if out, err := exec.CommandContext(ctx, python, peer("export.py"), w.model, file).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("export %s: %w: %s", w.model, err, out)
		}
		found, err := measureWorkload(ctx, c, w, file, version)
		if err != nil {
			return nil, err
		}
		figures = append(figures, found...)
	}
	return figures, nil
}

// measureWorkload takes turns between the sides and the numbers of ranks, since the machine's speed drifts.
func measureWorkload(ctx context.Context, c Config, w workload, file, version string) ([]Figure, error) {
	var ours, theirs [3][]float64
	var scaling, peerScaling []float64
	for run := range c.Runs {
		for _, ranks := range []int{1, 2} {
			o, err := oursOnce(ctx, c, w, ranks, file)
			if err != nil {
				return nil, fmt.Errorf("ours, %s on %d ranks: %w", w.model, ranks, err)
			}
			p, err := theirsOnce(ctx, c, w, ranks)
			if err != nil {
				return nil, fmt.Errorf("PyTorch, %s on %d ranks: %w", w.model, ranks, err)
			}
			fmt.Printf("%s, %d ranks, run %d: ours %.0f, PyTorch %.0f samples/s, ratio %.2f\n", w.model, ranks, run+1, o, p, o/p)
			ours[ranks], theirs[ranks] = append(ours[ranks], o), append(theirs[ranks], p)
		}
		scaling = append(scaling, ours[2][run]/ours[1][run]/2)
		peerScaling = append(peerScaling, theirs[2][run]/theirs[1][run]/2)
	}
	return []Figure{
		against("throughput."+w.model+".1", "samples/s", ours[1], theirs[1], "PyTorch eager "+version, goalAlone),
		against("throughput."+w.model+".2", "samples/s", ours[2], theirs[2], "PyTorch DDP "+version, w.goal),
		against("scaling."+w.model+".2", "of 2 x one rank", scaling, peerScaling, "PyTorch DDP "+version, 1),
	}, nil
}

// peerVersion asks the peer's PyTorch which one it is.
func peerVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, python, "-c", "import torch; print(torch.__version__)").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("the peer is missing (%s): apt-get install python3-torch, or -only cluster", bytes.TrimSpace(out))
	}
	return string(bytes.TrimSpace(out)), nil
}

func peer(script string) string { return filepath.Join("bench", "peers", script) }

// oursOnce starts the ranks and returns samples a second over all of them.
func oursOnce(ctx context.Context, c Config, w workload, ranks int, file string) (float64, error) {
	dir, err := os.MkdirTemp("", "tandem-bench-")
	if err != nil {
		return 0, fmt.Errorf("make a folder for the socket: %w", err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "board")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return 0, fmt.Errorf("listen for the ranks: %w", err)
	}
	server := &http.Server{Handler: newBoard(), ReadHeaderTimeout: time.Minute}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "bench: rendezvous:", err)
		}
	}()
	defer server.Close()

	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find own binary: %w", err)
	}
	commands := make([]*exec.Cmd, ranks)
	var out bytes.Buffer
	for rank := range ranks {
		cmd := exec.CommandContext(ctx, self, "rank", "-socket", socket, "-model", file, "-name", w.model,
			"-rank", strconv.Itoa(rank), "-ranks", strconv.Itoa(ranks),
			"-seconds", fmt.Sprint(c.Seconds))
		cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1")
		cmd.Stderr = os.Stderr
		if rank == 0 {
			cmd.Stdout = &out
		}
		if err := cmd.Start(); err != nil {
			return 0, fmt.Errorf("start rank %d: %w", rank, err)
		}
		commands[rank] = cmd
	}
	for rank, cmd := range commands {
		err = errors.Join(err, wrap(rank, cmd.Wait()))
	}
	if err != nil {
		return 0, err
	}
	return rate(out.Bytes())
}

func wrap(rank int, err error) error {
	if err != nil {
		return fmt.Errorf("rank %d: %w", rank, err)
	}
	return nil
}

func theirsOnce(ctx context.Context, c Config, w workload, ranks int) (float64, error) {
	cmd := exec.CommandContext(ctx, python, peer("ddp.py"), w.model, strconv.Itoa(w.batch), strconv.Itoa(ranks), fmt.Sprint(c.Seconds))
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("ddp.py: %w", err)
	}
	return rate(out)
}

// rate reads the one line both sides print.
func rate(out []byte) (float64, error) {
	var line struct {
		SamplesPerSecond float64 `json:"samples_per_second"`
	}
	if err := json.Unmarshal(out, &line); err != nil {
		return 0, fmt.Errorf("read the rate from %q: %w", out, err)
	}
	return line.SamplesPerSecond, nil
}
