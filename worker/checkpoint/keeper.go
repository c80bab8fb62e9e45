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
//
// It carries out what the machine decides: under the lock it tells the machine what happened and follows its actions; the worker does
// its tasks without the lock.
type Keeper struct {
	Config
	Deps
	ctx    context.Context // of the uploads
	cancel context.CancelFunc
	wake   chan struct{} // tells the worker that there is more to do
	due    time.Time     // of the newest checkpoint
	seat   seat

	mu        sync.Mutex
	m         machine
	attempts  map[int64]*attempt   // what the machine knows by number
	changed   chan struct{}        // closed, and made anew, when something did
	working   bool                 // the worker is there
	reserving bool                 // memory is being taken
	spare     []safetensors.Tensor // memory of the last large share, for the next: new memory costs as much as the copy
}

// seat is which rank of which generation this process is.
type seat struct {
	generation  int64
	rank, world int
	group       Group
}

// Stats counts checkpoints on this rank since New.
type Stats struct {
	Committed int64 // on rank 0
	LeftOut   int64 // because those before were not written yet
	GivenUp   int64 // begun and not finished
}

// New makes a keeper.
func New(c Config, d Deps) *Keeper {
	if c.SpoolBytes == 0 {
		c.SpoolBytes = maxSpool
	}
	if c.ShardBytes == 0 {
		c.ShardBytes = shardBytes
	}
	k := &Keeper{Config: c, Deps: d, wake: make(chan struct{}, 1), changed: make(chan struct{}), attempts: map[int64]*attempt{}}
	k.m = machine{folder: c.Spool != "", spoolBytes: c.SpoolBytes}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.Join(c.Generation, c.Rank, c.World, d.Group)
	return k
}

// Stats returns what happened so far.
func (k *Keeper) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.m.stats
}

// Join says that this process is another rank of another generation from now on. What is
// under way goes on as what it was, until a checkpoint of the new generation is committed.
func (k *Keeper) Join(generation int64, rank, world int, group Group) {
	k.seat = seat{generation: generation, rank: rank, world: max(1, world), group: group}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m.join(generation, rank, k.seat.world)
	k.follow()
}

// Reserve takes the memory for copies of this rank's share in the background, if it is large: else the first checkpoint would
// stop the training for as long as that takes, some seconds for 1 GiB.
func (k *Keeper) Reserve(state ckpt.Source) error {
	names, bytes, err := state.StateSizes()
	if err != nil {
		return err
	}
	tensors := slices.Concat(lay(names, bytes, k.seat.world, k.ShardBytes).shards[k.seat.rank]...)
	size := make(map[string]int64, len(names))
	for i, name := range names {
		size[name] = bytes[i]
	}
	mine := int64(0)
	for _, name := range tensors {
		mine += size[name]
	}
	k.mu.Lock()
	there := k.spare != nil || k.reserving || len(k.m.writing) > 0
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
		if k.spare == nil && k.m.count == 0 {
			k.spare = spare
		}
		k.m.changed = true
		k.follow()
	}()
	return nil
}

// Busy tells whether this rank still holds a share that is being written.
func (k *Keeper) Busy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.m.busy()
}

// Free says that no rank is busy. All ranks call it at the same step, so that they write the
// same checkpoints: one that waited begins now, or the next is not to wait.
func (k *Keeper) Free() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m.noneBusy()
	k.follow()
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
	l := lay(names, bytes, k.seat.world, k.ShardBytes)
	begin := time.Now()
	interval := begin.Sub(k.due)
	k.due = begin
	turn, spare, err := k.admit(ctx, total(bytes)/int64(k.seat.world), interval, last)
	if err != nil || turn == leftOut {
		return err
	}
	m.Job, m.Trial, m.SpecHash, m.DatasetID, m.Generation = k.Job, k.Trial, k.SpecHash, k.DatasetID, k.seat.generation
	m.SavedUnixMS = time.Now().UnixMilli()
	a := &attempt{m: m, prefix: layout.Checkpoint(k.Prefix, m.Step, m.Generation), rank: k.seat.rank, layout: l.id, begin: begin}
	tensors, err := state.StateOf(slices.Concat(l.shards[a.rank]...), spare)
	if err != nil {
		return err
	}
	a.hold(tensors, l)
	k.mu.Lock()
	defer k.mu.Unlock()
	e := a.entry(k.m.number())
	k.attempts[e.number] = a
	k.m.hold(e, turn, interval)
	k.follow()
	return nil
}

// admit returns what becomes of the next checkpoint, and memory for its copy, if there is some.
func (k *Keeper) admit(ctx context.Context, share int64, interval time.Duration, last bool) (turn, []safetensors.Tensor, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		t := k.m.admit(share, interval, last)
		k.follow()
		switch t {
		case refused:
			return t, nil, k.m.failure
		case leftOut:
			return t, nil, nil
		case begins, waits:
			spare := k.spare
			k.spare = nil
			return t, spare, nil
		}
		if err := k.await(ctx, nil); err != nil {
			return 0, nil, err
		}
	}
}

// await returns when something changed, or too late. It lets go of the lock meanwhile.
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

// Wait returns when no checkpoint is being written, with the failure of the last one. While
// the store is unavailable or full that is when it serves again; away is called once to tell so.
func (k *Keeper) Wait(ctx context.Context, away func()) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m.finish()
	k.follow()
	told := false
	for k.working {
		if k.m.away && !told {
			told = true
			k.mu.Unlock()
			away()
			k.mu.Lock()
			continue
		}
		var late <-chan time.Time
		if k.m.formerOnly() {
			late = time.After(formerPatience)
		}
		before := k.changed
		if err := k.await(ctx, late); err != nil {
			return err
		}
		if late != nil && before == k.changed {
			k.m.forsake()
			k.follow()
		}
	}
	k.m.free = true
	return k.m.failure
}

// Close returns when no checkpoint is being written or reported. It gives up what is under
// way when ctx ends. The keeper is of no use after it.
func (k *Keeper) Close(ctx context.Context) {
	_ = k.Wait(ctx, func() {}) // its failure is in the log
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m.closing = true
	k.cancel()
	for k.working || k.reserving {
		_ = k.await(context.WithoutCancel(ctx), nil)
	}
	for _, a := range k.attempts {
		a.drop()
	}
}

// follow does what the machine says. It is called with the lock, after everything that the machine is told.
func (k *Keeper) follow() {
	for _, act := range k.m.take() {
		switch act := act.(type) {
		case cancelUpload:
			if a := k.attempts[act.number]; a.cancel != nil {
				a.cancel()
			}
		case reuseMemory:
			k.spare = slices.Concat(k.attempts[act.number].tensors...)
		case dropShare:
			k.attempts[act.number].drop()
		case forgetEntry:
			delete(k.attempts, act.number)
		case logLine:
			k.log(act)
		}
	}
	if k.m.more {
		k.m.more = false
		k.work()
	}
	if k.m.changed {
		k.m.changed = false
		close(k.changed)
		k.changed = make(chan struct{})
	}
}

func (k *Keeper) log(l logLine) {
	level := zerolog.InfoLevel
	if l.warning {
		level = zerolog.WarnLevel
	}
	ev := k.Log.WithLevel(level)
	if a := k.attempts[l.number]; a != nil {
		ev = ev.Int64("step", a.m.Step).Str("ckpt", a.prefix)
	} else {
		ev = ev.Bool("full", k.m.full).Int("waiting", l.waiting)
	}
	if l.err != nil {
		ev = ev.Err(l.err)
	}
	if l.took > 0 {
		ev = ev.Int64("dur_ms", l.took.Milliseconds())
	}
	if l.limit > 0 {
		ev = ev.Int64("interval_ms", l.limit.Milliseconds())
	}
	ev.Msg(l.text)
}

func total(bytes []int64) (sum int64) {
	for _, n := range bytes {
		sum += n
	}
	return sum
}
