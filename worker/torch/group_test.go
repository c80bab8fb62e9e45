package torch_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"tandem.dev/worker/model"
	"tandem.dev/worker/torch"
)

// join makes rank's end of a group on loopback.
func join(ctx context.Context, r torch.Rendezvous, prefix string, rank, size int, timeout time.Duration) (*torch.Group, error) {
	return torch.NewGroup(ctx, torch.GroupConfig{Device: device, Rank: rank, WorldSize: size, Rendezvous: r, Prefix: prefix, BindAddress: "127.0.0.1", Timeout: timeout})
}

// ranks runs body once a rank, each on a thread of its own, in one group.
func ranks(t *testing.T, size int, body func(rank int, g *torch.Group) error) {
	t.Helper()
	b := newBoard()
	var all errgroup.Group
	for rank := range size {
		all.Go(func() error {
			runtime.LockOSThread()
			g, err := join(t.Context(), b, "gen1/", rank, size, 20*time.Second)
			if err != nil {
				return err
			}
			defer g.Close()
			return body(rank, g)
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestCollectives(t *testing.T) {
	ranks(t, 3, func(rank int, g *torch.Group) error {
		values := []float64{1, float64(rank), 0.25}
		if err := g.AllReduceSum(values); err != nil {
			return err
		}
		if diff := cmp.Diff([]float64{3, 3, 0.75}, values); diff != "" {
			t.Errorf("rank %d: sums (-want +got):\n%s", rank, diff)
		}
		return nil
	})
}

// A group of one rank trains as no group does. On CUDA it is one of NCCL, which wants a device for each rank.
func TestGroupOfOne(t *testing.T) {
	var ends [2][]torch.Tensor
	for i, grouped := range []bool{false, true} {
		ranks(t, 1, func(_ int, g *torch.Group) error {
			if want := map[bool]string{false: "none", true: "nccl"}[device.CUDA]; g.Transport() != want {
				t.Errorf("its transport is %q, want %q", g.Transport(), want)
			}
			c := torch.TrainerConfig{Device: device, Module: build(t, mlp, 1), Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam)}
			if grouped {
				c.Group = g
			}
			tr, err := torch.NewTrainer(c)
			if err != nil {
				return err
			}
			defer tr.Close()
			for s := range 5 {
				step(t, tr, torch.StepInput{Batch: images(20, uint64(s)), LossScale: 1.0 / 20, LR: 0.1})
			}
			ends[i], err = tr.State()
			return err
		})
	}
	if diff := cmp.Diff(ends[0], ends[1]); len(ends[0]) == 0 || diff != "" {
		t.Errorf("it trains otherwise than without a group:\n%s", diff)
	}
}

func TestBroadcast(t *testing.T) {
	ranks(t, 3, func(rank int, g *torch.Group) error {
		for root, want := range [][]byte{{}, []byte("one"), bytes.Repeat([]byte{7}, 1<<20)} {
			sent := []byte("not of root")
			if rank == root {
				sent = want
			}
			got, err := g.Broadcast(root, sent)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				t.Errorf("rank %d got %d bytes from rank %d, want %d", rank, len(got), root, len(want))
			}
		}
		if _, err := g.Broadcast(3, nil); err == nil {
			t.Error("rank 3 of 3 sends")
		}
		return nil
	})
}

// Any way of sharing a batch out gives the result of the whole batch, and the same bits on every rank.
func TestSharesEqualTheWhole(t *testing.T) {
	const batch, steps = 12, 5
	for name, spec := range map[string]*modelSpec{"mlp": mlp, "cnn": cnn} {
		for _, o := range []torch.OptimizerConfig{{Kind: torch.SGD, Momentum: 0.9}, {Kind: torch.AdamW, WeightDecay: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-3}} {
			config := torch.TrainerConfig{Device: device, Loss: torch.CrossEntropy, Optimizer: o, ClipNorm: 1, BucketBytes: 2000}
			config.Module = build(t, spec, 1)
			alone := newTrainer(t, config)
			var norms []float64
			for s := range steps {
				norms = append(norms, step(t, alone, torch.StepInput{Batch: images(batch, uint64(s)), LossScale: 1.0 / batch, LR: 0.1}).GradNorm)
			}
			for shares, cuts := range map[string][]int{"halves": {0, 6, 12}, "uneven": {0, 1, 5, 12}, "one idle": {0, 12, 12}} {
				t.Run(name+" "+string(o.Kind)+" "+shares, func(t *testing.T) {
					size := len(cuts) - 1
					results := make([][]torch.Tensor, size)
					ranks(t, size, func(rank int, g *torch.Group) error {
						c := config
						m, err := model.Build(spec, []int64{1, 8, 8}, 10, int64(rank+1)) // rank 0's counts
						if err != nil {
							return err
						}
						defer m.Close()
						c.Module, c.Group = m, g
						tr, err := torch.NewTrainer(c)
						if err != nil {
							return err
						}
						defer tr.Close()
						if err := tr.SyncState(0); err != nil {
							return err
						}
						for s := range steps {
							share := rows(images(batch, uint64(s)), cuts[rank], cuts[rank+1])
							r, err := tr.Step(torch.StepInput{Batch: share, LossScale: float64(size) / batch, LR: 0.1, MicroBatches: 1 + rank})
							if err != nil {
								return err
							}
							if math.Abs(r.GradNorm-norms[s]) > 1e-4 {
								t.Errorf("rank %d step %d: gradient norm %g, alone %g", rank, s, r.GradNorm, norms[s])
							}
						}
						results[rank], err = tr.State()
						return err
					})
					for rank := 1; rank < size; rank++ {
						if diff := cmp.Diff(results[0], results[rank]); diff != "" {
							t.Fatalf("rank %d differs from rank 0:\n%s", rank, diff)
						}
					}
					if d := furthest(t, state(t, alone), results[0]); d > 2e-5 {
						t.Errorf("shared and alone differ by %g", d)
					}
				})
			}
		}
	}
}

// A resumed group of three computes the bits of an uninterrupted one: bucket layouts do not depend on history.
func TestResumedGroupEqualsUninterrupted(t *testing.T) {
	const batch, size = 9, 3
	ranks(t, size, func(rank int, g *torch.Group) error {
		m, err := model.Build(cnn, []int64{1, 8, 8}, 10, 1)
		if err != nil {
			return err
		}
		defer m.Close()
		tr, err := torch.NewTrainer(torch.TrainerConfig{Device: device, Module: m, Group: g, Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam), BucketBytes: 1500})
		if err != nil {
			return err
		}
		defer tr.Close()
		train := func(from, to int) ([]torch.Tensor, error) {
			for s := from; s < to; s++ {
				in := torch.StepInput{Batch: rows(images(batch, uint64(s)), 3*rank, 3*rank+3), LossScale: float64(size) / batch, LR: 0.01}
				if _, err := tr.Step(in); err != nil {
					return nil, err
				}
			}
			return tr.State()
		}
		kept, err := train(0, 3)
		if err != nil {
			return err
		}
		want, err := train(3, 6)
		if err != nil {
			return err
		}
		if rank == 0 { // the others get it from here
			if err := tr.LoadState(kept); err != nil {
				return err
			}
		}
		if err := tr.SetGroup(g); err != nil {
			return err
		}
		if err := tr.SyncState(0); err != nil {
			return err
		}
		got, err := train(3, 6)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rank %d: resumed (-uninterrupted +resumed):\n%s", rank, diff)
		}
		return nil
	})
}

func TestBuffersStayEqual(t *testing.T) {
	results := make([][]torch.Tensor, 2)
	ranks(t, 2, func(rank int, g *torch.Group) error {
		m, err := torch.Compile(named(counter), int64(rank))
		if err != nil {
			return err
		}
		defer m.Close()
		tr, err := torch.NewTrainer(torch.TrainerConfig{Device: device, Module: m, Group: g, Loss: torch.MSE, Optimizer: torch.OptimizerConfig{Kind: torch.SGD}})
		if err != nil {
			return err
		}
		defer tr.Close()
		if err := tr.SyncState(0); err != nil {
			return err
		}
		for s := range 3 {
			x := []float32{float32(rank), float32(s), 1, 2, 3}
			if _, err := tr.Step(torch.StepInput{Batch: torch.Batch{X: x, XShape: []int64{1, 5}, Targets: make([]float32, 5)}, LossScale: 1, LR: 0.1}); err != nil {
				return err
			}
		}
		results[rank], err = tr.State()
		return err
	})
	if diff := cmp.Diff(results[0], results[1]); diff != "" {
		t.Errorf("rank 1 differs from rank 0:\n%s", diff)
	}
	for _, x := range results[0] {
		if x.Name == "model.mean" { // rank 0's means: 0, 0+1+2, 3, 6, 9
			if got, _ := torch.Float32s(x); !cmp.Equal(got, []float32{0, 3, 3, 6, 9}) {
				t.Errorf("mean is %v", got)
			}
		}
		if x.Name == "model.calls" {
			if got, _ := torch.Float32s(x); got[0] != 3 {
				t.Errorf("calls is %v", got)
			}
		}
	}
}

func TestDifferentModelsAreRefused(t *testing.T) {
	ranks(t, 2, func(rank int, g *torch.Group) error {
		spec := mlp
		if rank == 1 {
			spec = cnn
		}
		m, err := model.Build(spec, []int64{1, 8, 8}, 10, 1)
		if err != nil {
			return err
		}
		defer m.Close()
		tr, err := torch.NewTrainer(torch.TrainerConfig{Device: device, Module: m, Group: g, Loss: torch.MSE, Optimizer: torch.OptimizerConfig{Kind: torch.SGD}})
		if err == nil {
			tr.Close()
			t.Errorf("rank %d: an mlp and a cnn train together", rank)
		}
		if !errors.Is(err, torch.ErrStateMismatch) || rank == 1 && !strings.Contains(err.Error(), "this rank has model.") {
			t.Errorf("rank %d: %v, want the first difference", rank, err)
		}
		return nil
	})
}

// pair is rank 0 of two, with rank 1 joined but idle until the test ends.
func pair(t *testing.T, timeout time.Duration) *torch.Group {
	t.Helper()
	b := newBoard()
	var mine, other *torch.Group
	var all errgroup.Group
	all.Go(func() (err error) { mine, err = join(t.Context(), b, "", 0, 2, timeout); return err })
	all.Go(func() (err error) { other, err = join(t.Context(), b, "", 1, 2, timeout); return err })
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mine.Close)
	t.Cleanup(other.Close)
	return mine
}

// barrier returns when every rank has called it.
func barrier(g *torch.Group) error { return g.AllReduceSum(make([]float64, 1)) }

func waitBusy(g *torch.Group) {
	for deadline := time.Now().Add(10 * time.Second); !g.Busy() && time.Now().Before(deadline); {
		runtime.Gosched()
	}
}

func TestAbortWakesAStuckCollective(t *testing.T) {
	g := pair(t, time.Minute)
	if w := g.Waiting(); w != 0 {
		t.Errorf("it waits for %v, and is in no collective", w)
	}
	done := make(chan error, 1)
	begun := time.Now()
	go func() { done <- barrier(g) }()
	waitBusy(g)
	for g.Waiting() == 0 { // the lock is held before the waiting begins
		runtime.Gosched()
	}
	if w := g.Waiting(); w <= 0 || w > time.Since(begun) {
		t.Errorf("it waits for %v since %v", w, time.Since(begun))
	}
	start := time.Now()
	g.Abort("generation 2 begins")
	err := <-done
	if took := time.Since(start); !errors.Is(err, torch.ErrAborted) || !strings.Contains(err.Error(), "generation 2 begins") || took > 5*time.Second {
		t.Errorf("after %v: %v, want ErrAborted at once", took, err)
	}
	if w := g.Waiting(); w != 0 {
		t.Errorf("it waits for %v after the abort", w)
	}
	if err := barrier(g); !errors.Is(err, torch.ErrAborted) {
		t.Errorf("a collective after Abort: %v", err)
	}
	g.Close()
	g.Abort("too late")
	if err := barrier(g); !errors.Is(err, torch.ErrClosed) {
		t.Errorf("a collective after Close: %v", err)
	}
}

func TestCloseWakesAStuckCollective(t *testing.T) {
	g := pair(t, time.Minute)
	done := make(chan error, 1)
	go func() { done <- g.AllReduceSum(make([]float64, 1<<20)) }()
	waitBusy(g)
	g.Close()
	if err := <-done; !errors.Is(err, torch.ErrAborted) {
		t.Errorf("got %v, want ErrAborted", err)
	}
}

func TestHungPeerTimesOut(t *testing.T) {
	g := pair(t, 300*time.Millisecond)
	if err := barrier(g); !errors.Is(err, torch.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
}

func TestJoiningEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	waiting := &announced{board: newBoard(), asked: make(chan struct{}, 10)}
	done := make(chan error, 1)
	go func() {
		_, err := join(ctx, waiting, "", 0, 2, time.Minute)
		done <- err
	}()
	<-waiting.asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	if _, err := join(t.Context(), newBoard(), "", 0, 2, 50*time.Millisecond); !errors.Is(err, torch.ErrTimeout) {
		t.Errorf("alone in a group of two: %v, want ErrTimeout", err)
	}
}

// announced says when somebody waits at the board.
type announced struct {
	*board
	asked chan struct{}
}

func (a *announced) Get(ctx context.Context, key string) ([]byte, error) {
	a.asked <- struct{}{}
	return a.board.Get(ctx, key)
}

// peerVariable holds the URL of the board in the process that is the peer.
const peerVariable = "TANDEM_TORCH_TEST_PEER"

func TestTrainerOutlivesItsGroup(t *testing.T) {
	ranks(t, 2, func(rank int, g *torch.Group) error {
		m, err := model.Build(mlp, []int64{1, 8, 8}, 10, 1)
		if err != nil {
			return err
		}
		defer m.Close()
		tr, err := torch.NewTrainer(torch.TrainerConfig{Device: device, Module: m, Group: g, Loss: torch.CrossEntropy, Optimizer: torch.OptimizerConfig{Kind: torch.SGD}})
		if err != nil {
			return err
		}
		defer tr.Close()
		in := torch.StepInput{Batch: images(4, 1), LossScale: 0.25, LR: 0.1}
		if rank == 1 {
			if _, err := tr.Step(in); err != nil {
				return err
			}
			g.Close()
			return nil
		}
		if _, err := tr.Step(in); err != nil {
			return err
		}
		before, err := tr.State()
		if err != nil {
			return err
		}
		r, err := tr.Step(in)
		if !errors.Is(err, torch.ErrPeerLost) || r.Applied {
			t.Errorf("a step without the peer: applied %v, %v", r.Applied, err)
		}
		if _, err := tr.Step(in); !errors.Is(err, torch.ErrPeerLost) {
			t.Errorf("a step in a broken group: %v", err)
		}
		after, err := tr.State()
		if diff := cmp.Diff(before, after); err != nil || diff != "" {
			t.Errorf("the failed step changed the state (%v):\n%s", err, diff)
		}
		if _, err := tr.Evaluate(images(4, 1)); err != nil {
			t.Errorf("evaluate without the group: %v", err)
		}
		if err := tr.SetGroup(nil); err != nil {
			return err
		}
		r, err = tr.Step(in)
		if !r.Applied {
			t.Error("a step alone is not applied")
		}
		return err
	})
}
