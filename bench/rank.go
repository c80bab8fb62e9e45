package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"tandem.dev/worker/torch"
)

// warmUp is the steps before the clock starts, as in ddp.py.
const warmUp = 20

// rankMain is one process of our side: it trains for some seconds and, as rank 0, prints samples a second over all ranks.
func rankMain(args []string) error {
	flags := flag.NewFlagSet("rank", flag.ExitOnError)
	socket := flags.String("socket", "", "unix socket of the rendezvous")
	file := flags.String("model", "", "TorchScript file")
	name := flags.String("name", "", "name of the workload")
	rank := flags.Int("rank", 0, "rank")
	ranks := flags.Int("ranks", 1, "ranks in all")
	seconds := flags.Float64("seconds", 4, "seconds to measure")
	closed := flags.Bool("seal", false, "give up the system calls that an engine gives up")
	if err := flags.Parse(args); err != nil {
		return err
	}
	at := slices.IndexFunc(workloads, func(w workload) bool { return w.model == *name })
	if at < 0 {
		return fmt.Errorf("there is no workload %q", *name)
	}
	w := workloads[at]
	// As the engine trains; theirs need not be deterministic.
	since, err := ready(*closed)
	if err != nil {
		return err
	}
	code, err := os.ReadFile(*file)
	if err != nil {
		return fmt.Errorf("read the model: %w", err)
	}
	module, err := torch.LoadModule(code, torch.CPU)
	if err != nil {
		return fmt.Errorf("load %s: %w", *file, err)
	}
	defer module.Close()
	var group *torch.Group
	if *ranks > 1 {
		group, err = torch.NewGroup(context.Background(), torch.GroupConfig{
			Rank: *rank, WorldSize: *ranks, Rendezvous: newMeeting(*socket), Prefix: "bench/",
			BindAddress: "127.0.0.1", Timeout: 30 * time.Second,
		})
		if err != nil {
			return fmt.Errorf("form the process group: %w", err)
		}
		defer group.Close()
	}
	trainer, err := torch.NewTrainer(torch.TrainerConfig{
		Module: module, Group: group, Loss: torch.CrossEntropy,
		Optimizer: w.optimizer,
	})
	if err != nil {
		return err
	}
	defer trainer.Close()
	if err := trainer.SyncState(0); err != nil {
		return fmt.Errorf("start from one state: %w", err)
	}
	steps, elapsed, err := trainFor(trainer, group, batches(w, uint64(*rank)), *seconds, *ranks)
	if err != nil || *rank != 0 {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(once{Ready: since, Speed: float64(*ranks*w.batch*steps) / elapsed.Seconds()})
}

// trainFor steps until the seconds are over; all ranks stop at the same step.
func trainFor(trainer *torch.Trainer, group *torch.Group, data []torch.Batch, seconds float64, ranks int) (int, time.Duration, error) {
	rows := data[0].XShape[0]
	step := func(i int) error {
		_, err := trainer.Step(torch.StepInput{
			Batch: data[i%len(data)], LossScale: 1 / float64(rows), LR: 0.01, Seed: int64(i),
		})
		return err
	}
	for i := range warmUp {
		if err := step(i); err != nil {
			return 0, 0, err
		}
	}
	begin := time.Now()
	for steps := 0; ; {
		for range 10 {
			if err := step(steps); err != nil {
				return 0, 0, err
			}
			steps++
		}
		late := []float64{0}
		if time.Since(begin).Seconds() >= seconds {
			late[0] = 1
		}
		if ranks > 1 {
			if err := group.AllReduceSum(late); err != nil {
				return 0, 0, err
			}
		}
		if late[0] > 0 {
			return steps, time.Since(begin), nil
		}
	}
}

// batches makes random rows of a workload, as models.py does.
func batches(w workload, seed uint64) []torch.Batch {
	size := w.batch
	for _, n := range w.shape {
		size *= int(n)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	data := make([]torch.Batch, 8)
	for i := range data {
		b := torch.Batch{XShape: append([]int64{int64(w.batch)}, w.shape...), X: make([]float32, size), Labels: make([]int64, w.batch)}
		if w.tokens > 0 {
			b.YShape, b.Labels = b.XShape, make([]int64, size)
		}
		for k := range b.X {
			if b.X[k] = float32(random.NormFloat64()); w.tokens > 0 {
				b.X[k] = float32(random.IntN(w.tokens))
			}
		}
		for k := range b.Labels {
			b.Labels[k] = int64(random.IntN(max(10, w.tokens)))
		}
		data[i] = b
	}
	return data
}
