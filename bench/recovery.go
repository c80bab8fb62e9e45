package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	killEvery = time.Minute
	// recoveryTime is how long after a kill all of it is over.
	recoveryTime = 15 * time.Second
)

// recovery kills a rank of a small training now and then: how long until the next step where the others may go on without
// it, and where they wait for a replacement, and what a kill a minute costs. Times are those the engines wrote down.
func recovery(ctx context.Context, c Config) ([]Figure, error) {
	ledger, err := os.MkdirTemp("", "tandem-ledger-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the ledgers: %w", err)
	}
	defer os.RemoveAll(ledger)
	if err := os.Chmod(ledger, 0o777); err != nil { // engines, which run as another user, write there
		return nil, fmt.Errorf("open the folder for the ledgers: %w", err)
	}
	up, err := startUp(ctx, "TANDEM_LEDGER="+ledger)
	if err != nil {
		return nil, err
	}
	defer up.stop()
	if err := up.prepare(ctx); err != nil {
		return nil, err
	}
	shrink, minutes, err := up.killNowAndThen(ctx, ledger, 1, c.Runs, killEvery)
	if err != nil {
		return nil, fmt.Errorf("kill a rank the others can do without: %w", err)
	}
	spare, _, err := up.killNowAndThen(ctx, ledger, 2, c.Runs, recoveryTime)
	if err != nil {
		return nil, fmt.Errorf("kill a rank the others wait for: %w", err)
	}
	return []Figure{
		below("recovery.shrink", "s", shrink, 0.3),
		below("recovery.shrink.longest", "s", []float64{slices.Max(shrink)}, 1),
		below("recovery.replace", "s", spare, 3),
		below("recovery.lost", "% of the steps, a kill a minute", minutes, 3),
	}, nil
}

// killNowAndThen trains with at least this many workers of two, and kills one each time the training has gone on undisturbed
// for a while. It returns the seconds to the next step of each kill, and how many percent fewer steps were done in the time
// with a kill than in that before.
func (up *upCluster) killNowAndThen(ctx context.Context, ledger string, least int32, kills int, every time.Duration) (still,
	lost []float64, err error) {
	res, err := up.api.Jobs.SubmitJob(ctx, connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{
		Name: "bench", Dataset: "digits",
		Model:     &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{128}}}},
		Training:  &tandemv1.TrainingSpec{Batch: 96, Steps: 100_000_000},
		Resources: &tandemv1.ResourceSpec{Workers: 2, Min: least},
		Evaluate:  &tandemv1.EvaluateSpec{EverySteps: 100_000_000},
	}}))
	if err != nil {
		return nil, nil, fmt.Errorf("submit: %w", err)
	}
	id := res.Msg.GetJob().GetId()
	defer func() {
		_, end := up.api.Jobs.SetJobIntent(ctx, connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: id,
			Intent: tandemv1.JobIntent_JOB_INTENT_CANCEL}))
		if err == nil && end != nil {
			err = fmt.Errorf("cancel: %w", end)
		}
		if err == nil {
			err = up.settled(ctx)
		}
	}()
	if _, err := up.firstStep(ctx, id, time.Now()); err != nil {
		return nil, nil, err
	}
	if err := client.Sleep(ctx, recoveryTime); err != nil {
		return nil, nil, err
	}
	for run := range kills {
		begin := time.Now()
		if err := client.Sleep(ctx, every); err != nil {
			return nil, nil, err
		}
		pid, err := up.process("tandem-engine")
		if err != nil {
			return nil, nil, err
		}
		killed := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return nil, nil, fmt.Errorf("kill a rank: %w", err)
		}
		if err := client.Sleep(ctx, every); err != nil {
			return nil, nil, err
		}
		at, err := stepTimes(ledger, res.Msg.GetJob().GetTrialIds()[0])
		if err != nil {
			return nil, nil, err
		}
		before, after := between(at, begin, killed), between(at, killed, killed.Add(every))
		if len(before) == 0 || len(after) == 0 {
			return nil, nil, fmt.Errorf("%d steps before the kill, %d after it", len(before), len(after))
		}
		gap := time.Duration(after[0] - killed.UnixNano())
		fewer := 100 * (1 - float64(len(after))/float64(len(before))*float64(killed.Sub(begin))/float64(every))
		fmt.Printf("at least %d of 2 workers, kill %d: %v to the next step; %.1f %% fewer steps than before\n", least, run+1,
			gap.Round(time.Millisecond), fewer)
		still, lost = append(still, gap.Seconds()), append(lost, fewer)
	}
	return still, lost, nil
}

// stepTimes returns when each step of a trial was done first, in order, as Unix nanoseconds.
func stepTimes(ledger, trial string) ([]int64, error) {
	files, err := filepath.Glob(filepath.Join(ledger, trial+"-*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("list the ledgers: %w", err)
	}
	first := map[int64]int64{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read a ledger: %w", err)
		}
		for line := range bytes.Lines(text) {
			var step struct{ Step, At int64 }
			if !bytes.HasSuffix(line, []byte("\n")) {
				continue // being written
			}
			if err := json.Unmarshal(line, &step); err != nil {
				return nil, fmt.Errorf("read ledger %s: %w", file, err)
			}
			if at, known := first[step.Step]; !known || step.At < at {
				first[step.Step] = step.At
			}
		}
	}
	at := make([]int64, 0, len(first))
	for _, t := range first {
		at = append(at, t)
	}
	slices.Sort(at)
	return at, nil
}

// between returns the times from one to another.
func between(at []int64, from, to time.Time) []int64 {
	lo, _ := slices.BinarySearch(at, from.UnixNano())
	hi, _ := slices.BinarySearch(at, to.UnixNano())
	return at[lo:hi]
}
