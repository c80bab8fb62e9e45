package torch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"tandem.dev/worker/fault"
	"tandem.dev/worker/model"
	"tandem.dev/worker/torch"
)

// change alters how a rank joins.
type change func(rank int, c torch.GroupConfig) torch.GroupConfig

// placed runs body on one rank for each name of a host, in one group.
func placed(t *testing.T, hosts []string, body func(rank int, g *torch.Group) error, changes ...change) {
	t.Helper()
	b := newBoard()
	var all errgroup.Group
	for rank, host := range hosts {
		all.Go(func() error {
			runtime.LockOSThread()
			c := configOf(b, rank, len(hosts)).OnHost(host)
			for _, change := range changes {
				c = change(rank, c)
			}
			g, err := torch.NewGroup(t.Context(), c)
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

func configOf(r torch.Rendezvous, rank, size int) torch.GroupConfig {
	return torch.GroupConfig{Device: device, Rank: rank, WorldSize: size, Rendezvous: r, BindAddress: "127.0.0.1", Timeout: 20 * time.Second}
}

func TestCollectivesWhereverTheRanksAre(t *testing.T) {
	const n = 200_003 // doubles: more than three slots of a segment
	for name, c := range map[string]struct {
		hosts     []string
		transport string
	}{
		"two on a host":     {[]string{"a", "a"}, "shared memory"},
		"three on a host":   {[]string{"a", "a", "a"}, "shared memory"},
		"five on a host":    {[]string{"a", "a", "a", "a", "a"}, "shared memory"},
		"two hosts of two":  {[]string{"a", "b", "a", "b"}, "shared memory and gloo"},
		"two and one":       {[]string{"a", "b", "b"}, "shared memory and gloo"},
		"each its own host": {[]string{"a", "b", "c"}, "gloo"},
	} {
		t.Run(name, func(t *testing.T) {
			size := len(c.hosts)
			placed(t, c.hosts, func(rank int, g *torch.Group) error {
				if g.Transport() != c.transport {
					t.Errorf("rank %d: values travel by %s, want %s", rank, g.Transport(), c.transport)
				}
				values := make([]float64, n)
				for round := range 3 {
					for i := range values {
						values[i] = float64(i * (rank + 1 + round))
					}
					if err := g.AllReduceSum(values); err != nil {
						return err
					}
					for i, v := range values {
						if want := float64(i * (size*(size+1)/2 + size*round)); v != want {
							return fmt.Errorf("rank %d round %d: sum %d is %g, want %g", rank, round, i, v, want)
						}
					}
				}
				for root := range size {
					want := bytes.Repeat([]byte{byte(root + 1)}, 1_500_000)
					sent := make([]byte, rank)
					if rank == root {
						sent = want
					}
					got, err := g.Broadcast(root, sent)
					if err != nil {
						return err
					}
					if !bytes.Equal(got, want) {
						t.Errorf("rank %d: %d other bytes from rank %d", rank, len(got), root)
					}
				}
				return nil
			})
		})
	}
}

// trainOn returns each rank's state after some steps with the ranks on these hosts, and the bytes of gradients that each
// reduced in place.
func trainOn(t *testing.T, hosts []string, changes ...change) (states [][]torch.Tensor, inPlace []int64) {
	t.Helper()
	const steps = 6
	// A large epsilon, since Adam makes much of what is next to nothing.
	o := torch.OptimizerConfig{Kind: torch.AdamW, WeightDecay: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-3}
	states, inPlace = make([][]torch.Tensor, len(hosts)), make([]int64, len(hosts))
	placed(t, hosts, func(rank int, g *torch.Group) error {
		m, err := model.Build(cnn, []int64{1, 8, 8}, 10, int64(rank))
		if err != nil {
			return err
		}
		defer m.Close()
		tr, err := torch.NewTrainer(torch.TrainerConfig{Device: device, Module: m, Group: g, Loss: torch.CrossEntropy, Optimizer: o, BucketBytes: 1500})
		if err != nil {
			return err
		}
		defer tr.Close()
		if err := tr.SyncState(0); err != nil {
			return err
		}
		for s := range steps {
			share := rows(images(12, uint64(s)), 12*rank/len(hosts), 12*(rank+1)/len(hosts))
			r, err := tr.Step(torch.StepInput{Batch: share, LossScale: float64(len(hosts)) / 12, LR: 0.01})
			if err != nil {
				return err
			}
			if r.Forward <= 0 || r.Backward <= 0 || r.Exposed <= 0 || r.Optimizer <= 0 {
				t.Errorf("rank %d step %d: a part took no time: %+v", rank, s, r)
			}
		}
		inPlace[rank] = g.InPlace()
		states[rank], err = tr.State()
		return err
	}, changes...)
	for rank := range states {
		if diff := cmp.Diff(states[0], states[rank]); diff != "" {
			t.Errorf("%v: rank %d differs from rank 0:\n%s", hosts, rank, diff)
		}
	}
	return states, inPlace
}

func TestSharedMemoryComputesWhatGlooDoes(t *testing.T) {
	gloo, none := trainOn(t, []string{"a", "b"})
	shared, some := trainOn(t, []string{"a", "a"})
	if diff := cmp.Diff(gloo, shared); diff != "" {
		t.Errorf("two ranks (-gloo +shared memory):\n%s", diff)
	}
	if none[0] != 0 || device == torch.CPU && (some[0] == 0 || some[1] != some[0]) {
		t.Errorf("over gloo %d bytes of gradients are reduced in place, through shared memory %d", none, some)
	}
	apart, _ := trainOn(t, []string{"a", "b", "c", "d"})
	for _, hosts := range [][]string{{"a", "a", "a", "a"}, {"a", "a", "b", "b"}, {"a", "b", "b", "a"}, {"a", "b", "b", "b"}} {
		states, _ := trainOn(t, hosts)
		if d := furthest(t, apart[0], states[0]); d > 1e-4 {
			t.Errorf("%v and gloo alone differ by %g", hosts, d)
		}
	}
}

// Where one rank has no room for gradients that the others see, all copy theirs, and the bits are the same.
func TestNoRoomForGradientsOnOneRank(t *testing.T) {
	hosts := []string{"a", "a", "a"}
	want, _ := trainOn(t, hosts)
	got, inPlace := trainOn(t, hosts, func(rank int, c torch.GroupConfig) torch.GroupConfig {
		if rank == 1 {
			return c.WithoutRoom()
		}
		return c
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-in place +copied):\n%s", diff)
	}
	if slices.Max(inPlace) != 0 {
		t.Errorf("%d bytes are reduced in place", inPlace)
	}
}

func TestAllFallBackToGlooWhereOneCannotShare(t *testing.T) {
	b := newBoard()
	var all errgroup.Group
	for rank := range 3 {
		all.Go(func() error {
			c := configOf(b, rank, 3)
			if rank == 0 {
				c = c.WithoutSegment()
			}
			g, err := torch.NewGroup(t.Context(), c)
			if err != nil {
				return err
			}
			defer g.Close()
			if !strings.HasPrefix(g.Transport(), "gloo (rank 0 shares no memory: open the shared memory of rank 0") {
				t.Errorf("rank %d: values travel by %s", rank, g.Transport())
			}
			return barrier(g)
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

// peerHost names the host the peer's process seems to be on.
const peerHost = "TANDEM_TORCH_TEST_HOST"

// stepWithPeer trains as one rank of two and sends rank 1's fingerprint after each step, until an error, a gradient that
// is not finite, or steps that differ. seen is called after each step.
func stepWithPeer(g *torch.Group, seen func(step int)) error {
	m, err := model.Build(mlp, []int64{1, 8, 8}, 10, 1)
	if err != nil {
		return err
	}
	defer m.Close()
	tr, err := torch.NewTrainer(torch.TrainerConfig{Device: device, Module: m, Group: g, Loss: torch.CrossEntropy, Optimizer: torch.OptimizerConfig{Kind: torch.SGD, Momentum: 0.9}})
	if err != nil {
		return err
	}
	defer tr.Close()
	for s := 0; ; s++ {
		before, err := tr.Fingerprint()
		if err != nil {
			return err
		}
		r, err := tr.Step(torch.StepInput{Batch: images(4, uint64(s)), LossScale: 0.25, LR: 0.1})
		after, _ := tr.Fingerprint()
		if r.Applied == (before == after) {
			return fmt.Errorf("step %d: applied %v, fingerprints %x and %x", s, r.Applied, before, after)
		}
		if err != nil {
			return err
		}
		if !r.Finite {
			return errNotFinite
		}
		theirs, err := g.Broadcast(1, binary.LittleEndian.AppendUint64(nil, after))
		if err != nil {
			return err
		}
		if binary.LittleEndian.Uint64(theirs) != after {
			return fmt.Errorf("%w at step %d", errDiffer, s)
		}
		seen(s)
	}
}

var (
	errNotFinite = errors.New("not finite")
	errDiffer    = errors.New("the ranks differ")
)

// peerMain is rank 1 of two, until its fault.
func peerMain(url string) error {
	g, err := torch.NewGroup(context.Background(), configOf(remoteBoard(url), 1, 2).OnHost(os.Getenv(peerHost)))
	if err != nil {
		return err
	}
	defer g.Close()
	return stepWithPeer(g, func(int) {})
}

// withPeer trains beside a process that has a fault, and returns how that ended and how long after the peer did.
func withPeer(t *testing.T, armed, host string, seen func(g *torch.Group, step int)) (late time.Duration, err error) {
	t.Helper()
	b := newBoard()
	server := httptest.NewServer(b)
	defer server.Close()
	peer := exec.Command(os.Args[0])
	peer.Env = append(os.Environ(), peerVariable+"="+server.URL, peerHost+"="+host, fault.Variable+"="+armed)
	if err := peer.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan time.Time, 1)
	go func() {
		peer.Wait()
		ended <- time.Now()
	}()
	g, err := torch.NewGroup(t.Context(), configOf(b, 0, 2).OnHost("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = stepWithPeer(g, func(step int) { seen(g, step) })
	now := time.Now()
	g.Close() // what a peer without a fault of its own ends by
	peer.Process.Signal(syscall.SIGCONT)
	return now.Sub(<-ended), err
}

func TestFaultsOfAPeer(t *testing.T) {
	for _, c := range []struct {
		armed, host string
		want        error
		steps       int
	}{
		{"reduce:7:kill", "a", torch.ErrPeerLost, 7},
		{"reduce:7:kill", "b", torch.ErrPeerLost, 7},
		{"agreed:5:kill", "a", torch.ErrPeerLost, 5}, // this rank has applied step 5, and misses the peer after it
		{"applied:5:kill", "a", torch.ErrPeerLost, 5},
		{"forward:3:kill", "a", torch.ErrPeerLost, 3},
		{"backward:0:kill", "a", torch.ErrPeerLost, 0},
		{"reduce:4:nan", "a", errNotFinite, 4},
		{"reduce:4:nan", "b", errNotFinite, 4},
		{"applied:4:flip", "a", errDiffer, 4},
	} {
		t.Run(c.armed+" on "+c.host, func(t *testing.T) {
			steps := 0
			late, err := withPeer(t, c.armed, c.host, func(*torch.Group, int) { steps++ })
			if !errors.Is(err, c.want) || steps != c.steps {
				t.Errorf("after %d steps: %v, want %d steps and %v", steps, err, c.steps, c.want)
			}
			if strings.HasSuffix(c.armed, "kill") {
				t.Logf("noticed after %v", late)
				if late > 2*time.Second {
					t.Errorf("noticed %v after the peer ended", late)
				}
			}
		})
	}
}

func TestAbortWhileAPeerHangs(t *testing.T) {
	for _, host := range []string{"a", "b"} {
		t.Run("on "+host, func(t *testing.T) {
			aborted := make(chan time.Time, 1)
			_, err := withPeer(t, "reduce:5:stop", host, func(g *torch.Group, step int) {
				if step == 4 {
					// The next step hangs: its peer is stopped before it has the result, this rank in the collective after it.
					time.AfterFunc(300*time.Millisecond, func() {
						aborted <- time.Now()
						g.Abort("the peer hangs")
					})
				}
			})
			took := time.Since(<-aborted)
			if !errors.Is(err, torch.ErrAborted) || !strings.Contains(err.Error(), "the peer hangs") || took > 2*time.Second {
				t.Errorf("%v after the abort: %v, want ErrAborted at once", took, err)
			}
			t.Logf("ended after %v", took)
		})
	}
}

// held counts what a group could leave behind.
func held(t *testing.T) (files, mappings, threads int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds), strings.Count(string(maps), "memfd:tandem"), len(tasks)
}

// Fifty groups one after the other, of changing sizes and in changing places, leave the process as it was.
func TestRegrouping(t *testing.T) {
	const groups, members = 50, 3
	worlds := [][]string{{"a", "a"}, {"a", "a", "a"}, {"a", "b"}, {"a"}, {"a", "a", "b"}}
	run := func() {
		b := newBoard()
		var all errgroup.Group
		for me := range members {
			all.Go(func() error {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				m, err := model.Build(cnn, []int64{1, 8, 8}, 10, 1)
				if err != nil {
					return err
				}
				defer m.Close()
				tr, err := torch.NewTrainer(torch.TrainerConfig{Device: device, Module: m, Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam), BucketBytes: 4000})
				if err != nil {
					return err
				}
				defer tr.Close()
				for i := range groups {
					hosts := worlds[i%len(worlds)]
					if me >= len(hosts) {
						continue
					}
					c := configOf(b, me, len(hosts)).OnHost(hosts[me])
					c.Prefix = fmt.Sprintf("gen%d/", i)
					g, err := torch.NewGroup(t.Context(), c)
					if err != nil {
						return err
					}
					if err := errors.Join(tr.SetGroup(g), tr.SyncState(0)); err != nil {
						return err
					}
					if len(hosts) == 2 && hosts[1] == "a" {
						if _, err := tr.Step(torch.StepInput{Batch: images(4, uint64(i+100*me)), LossScale: 0.25, LR: 0.01}); err != nil {
							return err
						}
					}
					if err := tr.SetGroup(nil); err != nil {
						return err
					}
					g.Close()
				}
				return nil
			})
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	run()
	files, mappings, threads := held(t)
	run()
	filesNow, mappingsNow, threadsNow := held(t)
	if mappings != 0 || mappingsNow != 0 || filesNow > files+2 || threadsNow > threads+members+2 {
		t.Errorf("fifty groups later: %d files, %d mappings and %d threads, before %d, %d and %d", filesNow, mappingsNow, threadsNow, files, mappings, threads)
	}
}

func TestTrainingAcrossGroupsEqualsOneGroup(t *testing.T) {
	const steps = 12
	train := func(every int) []torch.Tensor {
		b := newBoard()
		states := make([][]torch.Tensor, 2)
		var all errgroup.Group
		for rank := range 2 {
			all.Go(func() error {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				m, err := model.Build(cnn, []int64{1, 8, 8}, 10, 1)
				if err != nil {
					return err
				}
				defer m.Close()
				tr, err := torch.NewTrainer(torch.TrainerConfig{Device: device, Module: m, Loss: torch.CrossEntropy, Optimizer: adamOf(torch.Adam), BucketBytes: 4000})
				if err != nil {
					return err
				}
				defer tr.Close()
				var g *torch.Group
				defer func() { g.Close() }()
				for s := range steps {
					if s%every == 0 {
						if g != nil {
							g.Abort("the next group") // as after a fault
							if err := tr.SetGroup(nil); err != nil {
								return err
							}
							g.Close()
						}
						c := configOf(b, rank, 2)
						c.Prefix = fmt.Sprintf("%d/%d/", every, s)
						if g, err = torch.NewGroup(t.Context(), c); err != nil {
							return err
						}
						if err := errors.Join(tr.SetGroup(g), tr.SyncState(1)); err != nil {
							return err
						}
					}
					in := torch.StepInput{Batch: rows(images(8, uint64(s)), 4*rank, 4*rank+4), LossScale: 0.25, LR: 0.01, Seed: int64(s)}
					if r, err := tr.Step(in); err != nil || !r.Applied || math.IsNaN(r.LossSum) {
						return errors.Join(fmt.Errorf("step %d: %+v", s, r), err)
					}
				}
				states[rank], err = tr.State()
				return err
			})
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
		return states[0]
	}
	if diff := cmp.Diff(train(steps), train(1)); diff != "" {
		t.Errorf("(-one group +a group each step):\n%s", diff)
	}
}
