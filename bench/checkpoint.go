package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/embedded"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/relay"
	"tandem.dev/storage/s3"
	"tandem.dev/storage/safetensors"
	"tandem.dev/worker/checkpoint"
)

const (
	stateTensors = 64
	tensorBytes  = 16 << 20 // 1 GiB in all
)

// block is a training state of random bytes in memory.
type block [][]byte

func newBlock() block {
	r := rand.NewChaCha8([32]byte{1})
	b := make(block, stateTensors)
	for i := range b {
		b[i] = make([]byte, tensorBytes)
		_, _ = r.Read(b[i]) // never fails
	}
	return b
}

// StateSizes implements ckpt.Source.
func (b block) StateSizes() (names []string, bytes []int64, _ error) {
	for i, d := range b {
		names, bytes = append(names, fmt.Sprintf("model.%02d", i)), append(bytes, int64(len(d)))
	}
	return names, bytes, nil
}

// StateOf implements ckpt.Source.
func (b block) StateOf(names []string, spare []safetensors.Tensor) (all []safetensors.Tensor, _ error) {
	for _, name := range names {
		var i int
		if _, err := fmt.Sscanf(name, "model.%02d", &i); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		var data []byte
		if i < len(spare) {
			data = spare[i].Data
		} else {
			data = make([]byte, len(b[i]))
		}
		copy(data, b[i])
		all = append(all, safetensors.Tensor{Name: name, DType: "U8", Shape: []int64{int64(len(data))}, Data: data})
	}
	return all, nil
}

// checkpoints keeps 1 GiB of state in the embedded store, and writes the same bytes to a plain file on the same disk with
// an fsync, in turn. The stall is what a training loses: the copy of its state, and nothing of the upload.
func checkpoints(ctx context.Context, c Config) (_ []Figure, err error) {
	dir, err := os.MkdirTemp(c.Out, "checkpoint-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the store: %w", err)
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("find the folder of the store: %w", err)
	}
	server, err := embedded.New(embedded.Config{Dir: filepath.Join(dir, "store"), AccessKey: "bench", SecretKey: "bench-bench-bench"})
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- server.Run(serving) }()
	defer func() {
		stop()
		err = errors.Join(err, <-served)
	}()
	<-server.Ready()
	store, err := s3.New(server.ClientConfig())
	if err != nil {
		return nil, err
	}
	defer store.Close()
	relayed, hangUp, err := throughAgent(filepath.Join(dir, "agent"), store)
	if err != nil {
		return nil, err
	}
	defer hangUp()
	state, to := newBlock(), &outlet{relayed: relayed, direct: store}
	keeper := checkpoint.New(checkpoint.Config{Job: "bench", Trial: "bench", Prefix: "trials/bench/ckpt", Generation: 1}, checkpoint.Deps{
		Store: to, Log: zerolog.Nop(), Report: func(context.Context, *tandemv1.Checkpoint) error { return nil },
	})
	defer keeper.Close(ctx)
	if err := keeper.Reserve(state); err != nil {
		return nil, err
	}
	const megabytes = stateTensors * tensorBytes / 1e6
	var stalls, reads, uploads, directs, plains []float64
	var copies []safetensors.Tensor
	for step := range c.Runs {
		stall, upload, direct, err := to.keepTwice(ctx, keeper, state, int64(2*step))
		if err != nil {
			return nil, fmt.Errorf("keep a checkpoint: %w", err)
		}
		names, _, _ := state.StateSizes()
		begin := time.Now()
		if copies, err = state.StateOf(names, copies); err != nil {
			return nil, err
		}
		copied := time.Since(begin)
		plain, err := writeOnce(filepath.Join(dir, "plain"), state)
		if err != nil {
			return nil, fmt.Errorf("write a plain file: %w", err)
		}
		for _, kept := range []int{2 * step, 2*step + 1} {
			if err := ckpt.Delete(ctx, store, layout.Checkpoint("trials/bench/ckpt", int64(kept), 1)); err != nil {
				return nil, err
			}
		}
		fmt.Printf("checkpoint of 1 GiB, run %d: stall %v, written in %v, without an agent between in %v; plain file %v\n",
			step+1, stall.Round(time.Millisecond), upload.Round(time.Millisecond), direct.Round(time.Millisecond),
			plain.Round(time.Millisecond))
		stalls, reads = append(stalls, 1/stall.Seconds()), append(reads, 1/copied.Seconds())
		uploads, directs = append(uploads, megabytes/upload.Seconds()), append(directs, megabytes/direct.Seconds())
		plains = append(plains, megabytes/plain.Seconds())
	}
	return []Figure{
		against("checkpoint.stall", "saves/s", stalls, reads, "a copy in memory", 0.8),
		against("checkpoint.upload", "MB/s", uploads, plains, "file and fsync", 0.5),
		against("checkpoint.relay", "MB/s", uploads, directs, "with no agent between engine and store", 0.9),
	}, nil
}

// throughAgent returns a store as engines reach it: through another process, which is this one here, by a unix socket.
func throughAgent(socket string, store storage.Store) (_ *relay.Client, hangUp func(), err error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("listen in the place of an agent: %w", err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: relay.Handler(func(*http.Request) (relay.Access, error) {
		return relay.Access{Store: store}, nil
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	client := relay.New(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	})
	return client, func() {
		client.Close()
		_ = errors.Join(srv.Close(), <-served) // nothing is under way
	}, nil
}

// outlet is a store that becomes another between two checkpoints.
type outlet struct {
	storage.Store
	relayed, direct storage.Store
}

// keepTwice keeps a checkpoint by way of the agent, and the next one without.
func (o *outlet) keepTwice(ctx context.Context, k *checkpoint.Keeper, s block, step int64) (stall, relayed, direct time.Duration,
	err error) {
	o.Store = o.relayed
	if stall, relayed, err = keepOnce(ctx, k, s, step); err != nil {
		return 0, 0, 0, err
	}
	o.Store = o.direct
	_, direct, err = keepOnce(ctx, k, s, step+1)
	return stall, relayed, direct, err
}

// keepOnce returns how long the training stands still, and how long it takes until the checkpoint is committed.
func keepOnce(ctx context.Context, k *checkpoint.Keeper, state block, step int64) (stall, all time.Duration, err error) {
	begin := time.Now()
	if err := k.Save(ctx, ckpt.Manifest{Step: step, WorldSize: 1}, state, false); err != nil {
		return 0, 0, err
	}
	stall = time.Since(begin)
	err = k.Wait(ctx, func() {})
	return stall, time.Since(begin), err
}

// writeOnce writes the state to a file, down to the disk.
func writeOnce(path string, state block) (time.Duration, error) {
	begin := time.Now()
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer f.Close()
	for _, d := range state {
		if _, err := f.Write(d); err != nil {
			return 0, err
		}
	}
	err = f.Sync()
	return time.Since(begin), err
}
