package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/bench/attack"
	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	// hostile connections, half of them with the token of a user.
	hostile = 1000
	// honest calls of one measurement, and the pause between two.
	honest, honestPause = 300, 20 * time.Millisecond
	// settling is how long an attack goes on before it is measured.
	settling = 3 * time.Second
)

// attacked measures what honest calls take while a crowd attacks the coordinator, beside the same calls before it, and the memory that the
// coordinator has at most. The attackers get what the coordinator leaves of the cores: those of a real attack have their own.
func attacked(ctx context.Context, c Config) ([]Figure, error) {
	up, err := startUp(ctx)
	if err != nil {
		return nil, err
	}
	defer up.stop()
	if err := up.prepare(ctx); err != nil {
		return nil, err
	}
	token, err := up.api.Tokens.CreateToken(ctx, connect.NewRequest(&tandemv1.CreateTokenRequest{Name: "hostile", Role: "user"}))
	if err != nil {
		return nil, fmt.Errorf("make a token for the attackers: %w", err)
	}
	crowd := crowd{Address: up.api.Context.Endpoints[0], CA: up.api.Context.CA, Token: token.Msg.GetSecret()}
	pid, err := up.process("coordinator")
	if err != nil {
		return nil, err
	}
	var calm, under, memory []float64
	for run := range c.Runs {
		before, err := up.p99(ctx)
		if err != nil {
			return nil, fmt.Errorf("without an attack: %w", err)
		}
		stop, err := crowd.start(ctx)
		if err != nil {
			return nil, err
		}
		err = client.Sleep(ctx, settling)
		at, failed := up.p99(ctx)
		if err = errors.Join(err, failed, stop()); err != nil {
			return nil, fmt.Errorf("under attack: %w", err)
		}
		mb, err := memoryMB(pid, "VmHWM")
		if err != nil {
			return nil, err
		}
		fmt.Printf("attack, run %d: p99 of an honest call %.1f ms (without %.1f), %.0f MB\n", run+1, at, before, mb)
		calm, under, memory = append(calm, before), append(under, at), append(memory, mb)
	}
	p99 := below("attack.p99", "ms", under, 100)
	p99.Peer, p99.PeerName = median(calm), "the same without an attack"
	p99.Ratio = p99.Ours / p99.Peer
	return []Figure{p99, below("attack.memory", "MB", memory, 300)}, nil
}

// crowd is what a process of attackers has to know.
type crowd struct{ Address, CA, Token string }

// start starts the process; stop ends it.
func (c crowd) start(ctx context.Context) (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	said, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write down the crowd: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, self, "attack")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(said), os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("start the attackers: %w", err)
	}
	return func() error {
		cancel()
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("attackers: %w", err)
		}
		return nil
	}, nil
}

// attackMain is the process of the attackers. It prints what came of the attacks.
func attackMain(ctx context.Context) error {
	var c crowd
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		return fmt.Errorf("read the crowd: %w", err)
	}
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19); err != nil {
		return fmt.Errorf("give up priority: %w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	attackers := attack.Crowd(c.Address, c.CA, c.Token, hostile)
	end := attack.Start(ctx, attackers)
	<-ctx.Done()
	end()
	for i, name := range []string{"without a token", "with one"} {
		fmt.Fprintln(os.Stderr, "attackers", name, attackers[i].Counts())
	}
	return nil
}

// p99 makes honest calls, one after the other, and returns the time that 99 of 100 take at most, in ms.
func (up *upCluster) p99(ctx context.Context) (float64, error) {
	var took []float64
	for range honest {
		begin := time.Now()
		if _, err := up.api.Jobs.ListJobs(ctx, connect.NewRequest(&tandemv1.ListJobsRequest{})); err != nil {
			return 0, fmt.Errorf("list jobs: %w", err)
		}
		took = append(took, float64(time.Since(begin).Microseconds())/1000)
		if err := client.Sleep(ctx, honestPause); err != nil {
			return 0, err
		}
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}
