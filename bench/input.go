package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/embedded"
	"tandem.dev/storage/s3"
	"tandem.dev/worker/data"
	"tandem.dev/worker/model"
	"tandem.dev/worker/torch"
)

// inputCase is a model with rows of its own shape.
type inputCase struct {
	model string
	spec  *tandemv1.ModelSpec
	shape []int64
	batch int // rows of a rank
	rows  int // of the dataset; for gpt windows
}

var inputCases = []inputCase{
	{"mlp", &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{512, 512}}}}, []int64{784},
		64, 12_000},
	{"resnet8", &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Resnet{Resnet: &tandemv1.ResnetSpec{Depth: 8}}}, []int64{3, 32, 32},
		32, 3_000},
	{"gpt", &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Gpt{Gpt: &tandemv1.GptSpec{}}}, []int64{128}, 8, 60_000},
}

const (
	inputRanks  = 2
	inputPrefix = "datasets/bench"
)

// input measures the share of the time that training waits for data: real steps of two ranks, whose shards come from an
// embedded store through the node's cache.
func input(ctx context.Context, c Config) ([]Figure, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	var figures []Figure
	for _, w := range inputCases {
		var shares []float64
		for run := range c.Runs {
			cmd := exec.CommandContext(ctx, self, "input", "-model", w.model, "-seconds", fmt.Sprint(c.Seconds))
			cmd.Env, cmd.Stderr = append(os.Environ(), "OMP_NUM_THREADS=1"), os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return nil, fmt.Errorf("input of %s: %w", w.model, err)
			}
			var got inputResult
			if err := json.Unmarshal(out, &got); err != nil {
				return nil, fmt.Errorf("read the result from %q: %w", out, err)
			}
			fmt.Printf("input of %s, run %d: %.2f %% waiting over %d steps of %.1f ms; first batch after %.2f s\n",
				w.model, run+1, got.Percent, got.Steps, got.StepMS, got.FirstS)
			shares = append(shares, got.Percent)
		}
		figures = append(figures, below("input.wait."+w.model, "% of the time", shares, 2))
	}
	return figures, nil
}

type inputResult struct {
	Percent float64 `json:"percent"` // of the time of the ranks, spent waiting for data
	Steps   int     `json:"steps"`   // of each rank
	StepMS  float64 `json:"step_ms"` // of one, with the wait
	FirstS  float64 `json:"first_s"` // from the beginning to the first batch, with an empty cache
}

// inputMain is one measurement, in a process of its own: an embedded store changes the working folder.
func inputMain(args []string) error {
	flags := flag.NewFlagSet("input", flag.ExitOnError)
	name := flags.String("model", "", "name of the workload")
	seconds := flags.Float64("seconds", 4, "seconds to measure")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, w := range inputCases {
		if w.model == *name {
			return measureInput(w, *seconds)
		}
	}
	return fmt.Errorf("no workload %q", *name)
}

func measureInput(w inputCase, seconds float64) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	dir, err := os.MkdirTemp("", "tandem-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the store: %w", err)
	}
	defer os.RemoveAll(dir)
	server, err := embedded.New(embedded.Config{Dir: filepath.Join(dir, "store"), AccessKey: "tandem-bench",
		SecretKey: "tandem-bench-secret"})
	if err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	select {
	case <-server.Ready():
	case err := <-done:
		return errors.Join(errors.New("the store ended"), err)
	}
	store, err := s3.New(server.ClientConfig())
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	defer store.Close()
	if err := w.fill(ctx, store); err != nil {
		return err
	}
	// As the engine trains; shards are read as those of a split that is larger than memory.
	if err := torch.Init(torch.Options{Threads: 1, Deterministic: true}); err != nil {
		return fmt.Errorf("set libtorch up: %w", err)
	}
	results := make([]inputResult, inputRanks)
	var ranks errgroup.Group
	for rank := range inputRanks {
		ranks.Go(func() (err error) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			results[rank], err = w.train(ctx, store, data.Cache{Dir: filepath.Join(dir, "cache"), Bytes: 4 << 30}, rank, seconds)
			return err
		})
	}
	if err := ranks.Wait(); err != nil {
		return err
	}
	sum := results[0]
	for _, r := range results[1:] {
		sum.Percent, sum.StepMS, sum.FirstS = sum.Percent+r.Percent, sum.StepMS+r.StepMS, max(sum.FirstS, r.FirstS)
	}
	sum.Percent, sum.StepMS = sum.Percent/inputRanks, sum.StepMS/inputRanks
	stop()
	return errors.Join(json.NewEncoder(os.Stdout).Encode(sum), <-done)
}

// fill makes the dataset of a workload, in shards of 4 MiB.
func (w inputCase) fill(ctx context.Context, store storage.Store) error {
	sink := func(name string, b []byte) error {
		return store.Put(ctx, inputPrefix+"/"+name, bytes.NewReader(b), int64(len(b)))
	}
	random := rand.New(rand.NewPCG(1, 1))
	o := dataset.DefaultOptions()
	o.Label, o.Split, o.Normalize, o.Shape, o.NoHeader = "c0", dataset.Ratio{1, 0,
		0}, dataset.Normalize{Method: dataset.MethodStandard}, w.shape, true
	o.Limits.ShardBytes = 4 << 20
	size := 1
	for _, n := range w.shape {
		size *= int(n)
	}
	var text bytes.Buffer
	if w.model == "gpt" {
		for range w.rows * size {
			text.WriteByte(byte('a' + random.IntN(26)))
		}
		_, err := dataset.FromText(ctx, &text, dataset.TextOptions{Context: size, Split: o.Split, Limits: o.Limits}, sink)
		return err
	}
	for range w.rows {
		text.WriteString(strconv.Itoa(random.IntN(10)))
		for range size {
			text.WriteByte(',')
			text.WriteString(strconv.Itoa(random.IntN(256)))
		}
		text.WriteByte('\n')
	}
	_, _, err := dataset.FromCSV(ctx, io.Reader(&text), o, sink)
	return err
}

// train steps until the seconds are over. The clock starts when the warm-up has brought the shards into the cache.
func (w inputCase) train(ctx context.Context, store storage.Store, cache data.Cache, rank int, seconds float64) (inputResult, error) {
	var r inputResult
	set, err := data.Load(ctx, store, inputPrefix, data.Options{Splits: []string{data.Train}, Memory: 1, Cache: cache})
	if err != nil {
		return r, err
	}
	defer set.Close()
	module, err := model.Build(w.spec, w.shape, set.Manifest.Outputs(), 1)
	if err != nil {
		return r, err
	}
	defer module.Close()
	trainer, err := torch.NewTrainer(torch.TrainerConfig{
		Module: module, Loss: torch.CrossEntropy, Optimizer: torch.OptimizerConfig{Kind: torch.SGD, Momentum: 0.9},
	})
	if err != nil {
		return r, err
	}
	defer trainer.Close()
	source := set.Source(data.Train)
	order, err := data.NewOrder(source.Len(), w.batch*inputRanks, 1)
	if err != nil {
		return r, err
	}
	feed := data.NewFeed(source, order)
	defer feed.Close()
	feed.Seek(data.Cursor{}, rank, inputRanks)
	begin := time.Now()
	var waited time.Duration
	for step := 0; ; step++ {
		piece, err := feed.Next(ctx, func() {})
		if err != nil {
			return r, err
		}
		if step == 0 {
			r.FirstS = time.Since(begin).Seconds()
		}
		if waited += piece.Wait; step == warmUp {
			begin, waited = time.Now(), 0
		}
		_, err = trainer.Step(torch.StepInput{
			Batch:     torch.Batch{X: piece.X, XShape: append([]int64{int64(piece.Rows)}, piece.Shape...), Labels: piece.Labels},
			LossScale: inputRanks / float64(piece.Global), LR: 0.001, Seed: int64(step),
		})
		if err != nil {
			return r, err
		}
		if elapsed := time.Since(begin).Seconds(); step > warmUp && elapsed >= seconds {
			r.Steps = step - warmUp
			r.Percent, r.StepMS = 100*waited.Seconds()/elapsed, 1000*elapsed/float64(r.Steps)
			return r, nil
		}
	}
}
