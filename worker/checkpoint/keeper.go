package checkpoint

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/safetensors"
)

// ErrStale: the coordinator no longer takes checkpoints of this generation; the engine has to end.
var ErrStale = errors.New("the generation is over")

// Group is the ranks that restore together.
type Group = interface {
	// AllReduceSum replaces each value by its sum over the ranks.
	AllReduceSum(values []float64) error
}

// Config of a Keeper.
type Config struct {
	Job, Trial string
	SpecHash   string
	DatasetID  string
	Prefix     string // before "/" and the checkpoints of the trial (layout.Checkpoints)
	Generation int64
	Rank       int
	World      int                  // ranks; 0 means 1
	Resume     *tandemv1.Checkpoint // to start from, of this trial or another; nil: from the beginning
	Spool      string               // folder for checkpoints that wait for the store; empty: only the newest waits, in memory
	SpoolBytes int64                // of all that wait there; 0 means 8 GiB
	ShardBytes int64                // that a shard has at most, if it is not a single tensor; the same on all ranks; 0 means 64 MiB
}

// Deps of a Keeper.
type Deps struct {
	Store storage.Store
	Group Group // nil for a single process
	// Report delivers a committed checkpoint. ErrStale ends the training.
	Report func(context.Context, *tandemv1.Checkpoint) error
	// Tell tells people that checkpoints are slow, or that the store is away or full; rank 0 does. nil: only the log says so.
	Tell func(ctx context.Context, warning bool, message string)
	Log  zerolog.Logger
}

// maxSpool is how much may wait on local disk where nobody says how much.
const maxSpool = 8 << 30

// SpoolOf is how much may wait on local disk for an engine that may take so many bytes of it: half, for what is written beside. 0: no limit.
func SpoolOf(disk int64) int64 {
	if disk == 0 {
		return maxSpool
	}
	return min(maxSpool, max(1, disk/2)) // 1 and not 0: nothing fits
}

const (
	// Shards are hashed, sent and brought to the store's disk side by side, and a request that fails has little to send again.
	shardBytes = 64 << 20
	// A share up to this many bytes may wait in memory for the one before.
	queueBytes = 32 << 20
	// Checkpoints of which other ranks' parts are missing; of more the oldest is given up.
	maxPending = 8
	// How long the end waits for parts that a rank of a former generation may never write.
	formerPatience = 10 * time.Second
)

// Keeper keeps the checkpoints of a trial on one rank, over all its generations. Its methods
// are for one goroutine. Close ends it.
type Keeper struct {
	Config
	Deps
	ctx    context.Context // of the uploads
	cancel context.CancelFunc
	wake   chan struct{} // tells the worker that there is more to do
	due    time.Time     // of the newest checkpoint

	mu        sync.Mutex
	changed   chan struct{}        // closed, and made anew, when one of these changes
	queue     []*attempt           // in memory until no rank is busy: the newest and the best
	writing   []*attempt           // this rank's share goes to the store, one at a time, oldest first
	pending   []*attempt           // it is there; rank 0 waits for those of the others
	working   bool                 // the worker is there
	reserving bool                 // memory is being taken
	spare     []safetensors.Tensor // memory of the last large share, for the next: new memory costs as much as the copy
	free      bool                 // no rank is busy, and nothing was begun since
	away      bool                 // the store is unavailable, or full
	full      bool                 // it is full
	awayFor   string               // what it said, or what was met
	told      string               // what people know of that; empty: that it serves
	slow      bool                 // as it was said
	say       string               // to people
	count     int64                // attempts
	ended     int64                // number of the newest attempt that ended
	failure   error                // of that one
	stats     Stats
}

// Stats counts checkpoints on this rank since New.
type Stats struct {
	Committed int64 // on rank 0
	LeftOut   int64 // because those before were not written yet
	GivenUp   int64 // begun and not finished
}

// New makes a keeper.
func New(c Config, d Deps) *Keeper {
	c.World = max(1, c.World)
	if c.SpoolBytes == 0 {
		c.SpoolBytes = maxSpool
	}
	if c.ShardBytes == 0 {
		c.ShardBytes = shardBytes
	}
	k := &Keeper{Config: c, Deps: d, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// Stats returns what happened so far.
func (k *Keeper) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stats
}

// Join says that this process is another rank of another generation from now on. What is
// under way goes on as what it was, until a checkpoint of the new generation is committed.
func (k *Keeper) Join(generation int64, rank, world int, group Group) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.release(len(k.queue))
	k.Generation, k.Rank, k.World, k.Group, k.free = generation, rank, max(1, world), group, false
}

// Reserve takes the memory for copies of this rank's share in the background, if it is large: else the first checkpoint would
// stop the training for as long as that takes, some seconds for 1 GiB.
func (k *Keeper) Reserve(state ckpt.Source) error {
	names, bytes, err := state.StateSizes()
	if err != nil {
		return err
	}
	tensors := slices.Concat(lay(names, bytes, k.World, k.ShardBytes).shards[k.Rank]...)
	size := make(map[string]int64, len(names))
	for i, name := range names {
		size[name] = bytes[i]
	}
	mine := int64(0)
	for _, name := range tensors {
		mine += size[name]
	}
	k.mu.Lock()
	there := k.spare != nil || k.reserving || len(k.writing) > 0
	k.reserving = k.reserving || !there && mine > queueBytes
	k.mu.Unlock()
	if there || mine <= queueBytes {
		return nil
	}
	go func() {
		var spare []safetensors.Tensor
		for _, name := range tensors {
			if k.ctx.Err() != nil {
				break
			}
			data := make([]byte, size[name])
			for i := 0; i < len(data); i += os.Getpagesize() {
				data[i] = 1 // the kernel gives a page when it is written
			}
			spare = append(spare, safetensors.Tensor{Name: name, Data: data})
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.reserving = false
		if k.spare == nil && k.count == 0 {
			k.spare = spare
		}
		k.notify()
	}()
	return nil
}

// Busy tells whether this rank still holds a share that is being written.
func (k *Keeper) Busy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.busy()
}

func (k *Keeper) busy() bool {
	return slices.ContainsFunc(k.writing, func(a *attempt) bool {
		return a.inMemory && !a.stuck && a.m.Generation == k.Generation
	})
}

// Free says that no rank is busy. All ranks call it at the same step, so that they write the
// same checkpoints: one that waited begins now, or the next is not to wait.
func (k *Keeper) Free() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.free = len(k.queue) == 0
	k.release(min(1, len(k.queue)))
}

// release begins the n oldest that wait.
func (k *Keeper) release(n int) {
	if n == 0 {
		return
	}
	k.writing = append(k.writing, k.queue[:n]...)
	k.queue = slices.Clone(k.queue[n:])
	k.work()
}

// Save begins to keep a checkpoint. All ranks call it at the same step with the same
// manifest. It copies this rank's share of the state and returns. When those before are not
// written yet, this one waits if it is small, of such the newest and the best, or is left
// out; the last one never is, and may wait for those before. ErrStale.
func (k *Keeper) Save(ctx context.Context, m ckpt.Manifest, state ckpt.Source, last bool) error {
	names, bytes, err := state.StateSizes()
	if err != nil {
		return err
	}
	l := lay(names, bytes, k.World, k.ShardBytes)
	begin := time.Now()
	interval := begin.Sub(k.due)
	k.due = begin
	turn, err := k.admit(ctx, total(bytes)/int64(k.World), interval, last)
	if err != nil || turn == leftOut {
		return err
	}
	m.Job, m.Trial, m.SpecHash, m.DatasetID, m.Generation = k.Job, k.Trial, k.SpecHash, k.DatasetID, k.Generation
	m.SavedUnixMS = time.Now().UnixMilli()
	a := &attempt{m: m, prefix: layout.Checkpoint(k.Prefix, m.Step, m.Generation), rank: k.Rank, layout: l.id, begin: begin}
	k.mu.Lock()
	spare := k.spare
	k.spare = nil
	k.mu.Unlock()
	tensors, err := state.StateOf(slices.Concat(l.shards[k.Rank]...), spare)
	if err != nil {
		return err
	}
	a.hold(tensors, l)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count++
	a.number = k.count
	if turn == queued {
		a.overtook = interval
		k.queue = append(k.queue, a)
		for _, old := range surplus(k.queue) {
			k.queue = without(k.queue, old)
			k.stats.LeftOut++
		}
		return nil
	}
	k.writing = append(k.writing, a)
	k.work()
	return nil
}

// turn is when a checkpoint is written.
type turn int

const (
	now     turn = iota + 1
	queued       // when no rank is busy
	leftOut      // never
)

// admit decides what becomes of the next checkpoint, so that all ranks decide the same.
func (k *Keeper) admit(ctx context.Context, share int64, interval time.Duration, last bool) (turn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		if errors.Is(k.failure, ErrStale) {
			return 0, k.failure
		}
		free := k.free || k.World == 1 && !k.busy()
		if free && len(k.queue) == 0 {
			k.free = false
			k.replace()
			return now, nil
		}
		k.overtake(interval)
		switch {
		case share <= queueBytes:
			return queued, nil
		case !last:
			k.stats.LeftOut++
			return leftOut, nil
		case !k.busy():
			k.replace()
			return now, nil
		}
		if err := k.await(ctx, nil); err != nil {
			return 0, err
		}
	}
}

// await returns when something changed, or too late.
func (k *Keeper) await(ctx context.Context, late <-chan time.Time) error {
	changed := k.changed
	k.mu.Unlock()
	defer k.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-late:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// replace gives up what the next checkpoint takes the memory of.
func (k *Keeper) replace() {
	for _, a := range slices.Clone(k.writing) {
		if a.inMemory && a.bytes > queueBytes && (a.stuck || !k.current(a)) {
			k.giveUp(a, "a newer checkpoint takes its place")
		}
	}
}

// Wait returns when no checkpoint is being written, with the failure of the last one. While
// the store is unavailable or full that is when it serves again; away is called once to tell so.
func (k *Keeper) Wait(ctx context.Context, away func()) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.release(len(k.queue))
	told := false
	for k.working {
		if k.away && !told {
			told = true
			k.mu.Unlock()
			away()
			k.mu.Lock()
			continue
		}
		var late <-chan time.Time
		if len(k.writing) == 0 && !slices.ContainsFunc(k.pending, k.current) {
			late = time.After(formerPatience)
		}
		before := k.changed
		if err := k.await(ctx, late); err != nil {
			return err
		}
		if late != nil && before == k.changed {
			for _, a := range slices.Clone(k.pending) {
				k.giveUp(a, "ranks of its generation are gone")
			}
		}
	}
	k.free = true
	return k.failure
}

func (k *Keeper) current(a *attempt) bool { return a.m.Generation == k.Generation }

// Close returns when no checkpoint is being written or reported. It gives up what is under
// way when ctx ends. The keeper is of no use after it.
func (k *Keeper) Close(ctx context.Context) {
	_ = k.Wait(ctx, func() {}) // its failure is in the log
	k.cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.working || k.reserving {
		_ = k.await(context.WithoutCancel(ctx), nil)
	}
	for _, a := range slices.Concat(k.queue, k.writing) {
		a.drop()
	}
}

func total(bytes []int64) (sum int64) {
	for _, n := range bytes {
		sum += n
	}
	return sum
}

func without(list []*attempt, a *attempt) []*attempt {
	return slices.DeleteFunc(slices.Clone(list), func(x *attempt) bool { return x == a })
}

// surplus returns those that retention would not keep: all but the newest and the best.
func surplus(list []*attempt) (all []*attempt) {
	if len(list) == 0 {
		return nil
	}
	newest := list[len(list)-1]
	for _, a := range list[:len(list)-1] {
		if best := newest.m.Best; best == nil || a.m.Step != best.Step {
			all = append(all, a)
		}
	}
	return all
}
