package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
)

const (
	firstPause = 200 * time.Millisecond
	maxPause   = 10 * time.Second // an outage that ends is noticed this late
	fullPause  = 30 * time.Second // between two tries of a full store: only a share that is sent tells whether it has room
	probeLimit = 10 * time.Second
)

// errGivenUp: a checkpoint was begun and not finished, for a reason that is no failure.
var errGivenUp = errors.New("the checkpoint was given up")

// work makes sure that the worker is there and looks again.
func (k *Keeper) work() {
	if !k.working {
		k.working = true
		go k.worker()
		return
	}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// worker writes what there is to write, one at a time, and commits what is complete. It ends
// when nothing is left.
func (k *Keeper) worker() {
	for pause := firstPause; ; {
		k.mu.Lock()
		if k.ctx.Err() != nil || len(k.writing) == 0 && len(k.pending) == 0 && !k.next() {
			k.working = false
			k.notify()
			k.mu.Unlock()
			return
		}
		away, full := k.away, k.full
		k.mu.Unlock()

		longest := maxPause
		if full {
			longest = fullPause
		}
		if away {
			k.spool()
		}
		moved, serves := false, !away || full || k.answers()
		if serves {
			moved = k.write()
			moved = k.collect() || moved
		}
		if away {
			k.tellOutage()
		}
		if moved {
			pause = firstPause
			continue
		}
		select {
		case <-k.wake:
		case <-time.After(pause):
			pause = min(2*pause, longest)
		case <-k.ctx.Done():
		}
	}
}

// next begins what waits when there are no other ranks to agree with.
func (k *Keeper) next() bool {
	if k.World > 1 || len(k.queue) == 0 {
		return false
	}
	k.writing, k.queue = append(k.writing, k.queue[0]), slices.Clone(k.queue[1:])
	return true
}

// answers tells whether the store is back, without sending it a share.
func (k *Keeper) answers() bool {
	ctx, cancel := context.WithTimeout(k.ctx, probeLimit)
	defer cancel()
	_, err := k.Store.Head(ctx, k.Prefix+"/probe")
	return ctx.Err() == nil && !errors.Is(err, storage.ErrUnavailable)
}

// write brings this rank's share of the oldest checkpoint to the store. It tells whether that
// is over.
func (k *Keeper) write() bool {
	ctx, cancel := context.WithCancel(k.ctx)
	defer cancel()
	k.mu.Lock()
	if len(k.writing) == 0 {
		k.mu.Unlock()
		return false
	}
	a := k.writing[0]
	a.stuck, a.cancel = false, cancel
	k.mu.Unlock()
	err := a.put(ctx, k.Store)

	k.mu.Lock()
	defer k.mu.Unlock()
	a.cancel = nil
	if !slices.Contains(k.writing, a) { // given up meanwhile
		a.drop()
		return true
	}
	if k.outage(err) {
		return false
	}
	k.writing = without(k.writing, a)
	if a.bytes > queueBytes && err == nil {
		k.spare = slices.Concat(a.tensors...)
	}
	a.drop()
	switch {
	case err != nil:
		k.end(a, err)
	case a.rank != 0:
		k.end(a, nil)
	default:
		k.pending = append(k.pending, a)
		if len(k.pending) > maxPending {
			k.giveUp(k.pending[0], "too many wait for the parts of other ranks")
		}
	}
	k.notify()
	return true
}

// outage notes whether the store takes what is sent, and tells when it does not.
func (k *Keeper) outage(err error) bool {
	if k.ctx.Err() != nil {
		return storage.IsOutage(err)
	}
	was := k.away
	k.away, k.full = storage.IsOutage(err), errors.Is(err, storage.ErrFull)
	if k.away {
		k.awayFor = fmt.Sprintf("%.400s", err)
	}
	if k.away && !was {
		k.Log.Warn().Err(err).Bool("full", k.full).Int("waiting", len(k.writing)+len(k.pending)).Msg("the store does not serve; checkpoints wait for it")
		k.notify()
	}
	if was && !k.away {
		k.Log.Info().Int("waiting", len(k.writing)+len(k.pending)).Msg("the store serves again; the checkpoints that waited go there now")
	}
	return k.away
}

// tellOutage tells people of an outage that a second look confirmed, and of its end.
func (k *Keeper) tellOutage() {
	k.mu.Lock()
	what, advice := "", ""
	switch {
	case k.full:
		what, advice = "is full", "free some space there, or raise its quota"
	case k.away:
		what, advice = "does not serve", "look whether it is up, and whether this node reaches it"
	}
	tell := k.Rank == 0 && k.Tell != nil && k.told != what
	k.told = what
	why := k.awayFor
	k.mu.Unlock()
	switch {
	case !tell:
	case what != "":
		k.Tell(k.ctx, true, "the store "+what+": the newest and the best checkpoint wait on the node's disk until that has changed, and what trains goes on; "+
			advice+" ("+why+")")
	default:
		k.Tell(k.ctx, false, "the store serves again; the checkpoints that waited go there now")
	}
}

// collect commits what all ranks have written, oldest first. It tells whether anything was.
func (k *Keeper) collect() (moved bool) {
	for _, a := range k.complete() {
		saved, missing, err := k.commit(a)
		k.mu.Lock()
		away := k.outage(err)
		k.mu.Unlock()
		if away {
			return moved
		}
		if err == nil && missing > 0 {
			continue
		}
		if err == nil {
			err = k.report(a, saved)
		}
		k.mu.Lock()
		k.settle(a, err)
		say := k.say
		k.say = ""
		k.mu.Unlock()
		if say != "" && k.Tell != nil {
			k.Tell(k.ctx, true, say)
		}
		moved = true
	}
	return moved
}

// complete are the pending ones, oldest first, of which no part is missing, or that cannot be looked for. The newest is looked for
// first: the parts of those before it came earlier, so that none is passed over whose last part comes meanwhile.
func (k *Keeper) complete() (all []*attempt) {
	k.mu.Lock()
	pending := slices.Clone(k.pending)
	k.mu.Unlock()
	for _, a := range slices.Backward(pending) {
		missing, err := ckpt.Gather(k.ctx, k.Store, a.prefix, a.part(), a.shards)
		if err != nil || missing == 0 {
			all = append(all, a)
			continue
		}
		k.mu.Lock()
		if !k.full { // one that is full can be read
			k.outage(nil)
		}
		k.mu.Unlock()
	}
	slices.Reverse(all)
	return all
}

// commit makes a checkpoint of the parts of all ranks, if none is missing.
func (k *Keeper) commit(a *attempt) (saved ckpt.Manifest, missing int, err error) {
	missing, err = ckpt.Gather(k.ctx, k.Store, a.prefix, a.part(), a.shards)
	if missing > 0 || err != nil {
		return saved, missing, err
	}
	saved, err = ckpt.Commit(k.ctx, k.Store, a.prefix, a.m, slices.Concat(a.shards...))
	return saved, 0, err
}

// report tells the coordinator of a checkpoint that is committed.
func (k *Keeper) report(a *attempt, saved ckpt.Manifest) error {
	c, err := record(saved, a.prefix)
	if err != nil {
		return err
	}
	k.Log.Info().Int64("step", a.m.Step).Str("ckpt", a.prefix).Int64("bytes", c.GetBytes()).Int("shards", len(saved.Shards)).
		Int64("dur_ms", time.Since(a.begin).Milliseconds()).Msg("checkpoint committed")
	if err := k.Report(k.ctx, c); err != nil {
		return fmt.Errorf("report checkpoint %s: %w", a.prefix, err)
	}
	return nil
}

// settle ends an attempt that rank 0 committed, or could not. No older one can be complete later:
// each rank writes its shares in their order.
func (k *Keeper) settle(a *attempt, err error) {
	if !slices.Contains(k.pending, a) {
		return
	}
	k.pending = without(k.pending, a)
	if errors.Is(err, ErrStale) && a.m.Generation != k.Generation {
		err = fmt.Errorf("%w: its generation is over", errGivenUp)
	}
	k.end(a, err)
	if err == nil {
		k.stats.Committed++
		k.pace(a)
		for _, old := range slices.Clone(k.pending) {
			if old.number < a.number {
				k.giveUp(old, "a newer one is committed")
			}
		}
	}
	k.notify()
}

// end notes how the newest attempt that ended did.
func (k *Keeper) end(a *attempt, err error) {
	if err != nil {
		k.stats.GivenUp++
		k.Log.Warn().Err(err).Int64("step", a.m.Step).Str("ckpt", a.prefix).Msg("a checkpoint was not kept; the next is tried")
	}
	if a.number >= k.ended && !errors.Is(k.failure, ErrStale) {
		k.ended, k.failure = a.number, err
	}
}

// giveUp ends an attempt, wherever it is. What it left in the store, the coordinator deletes.
func (k *Keeper) giveUp(a *attempt, why string) {
	if a.cancel != nil {
		a.cancel()
	}
	k.writing, k.pending = without(k.writing, a), without(k.pending, a)
	k.stats.GivenUp++
	k.Log.Warn().Int64("step", a.m.Step).Str("ckpt", a.prefix).Str("why", why).Msg("a checkpoint was given up")
	if a.cancel == nil { // else it is in use
		a.drop()
	}
	k.notify()
}

// notify wakes who awaits a change.
func (k *Keeper) notify() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// overtake notes that the next checkpoint is due, so long after the one before, while some
// are under way.
func (k *Keeper) overtake(interval time.Duration) {
	for _, a := range slices.Concat(k.writing, k.pending) {
		if a.overtook == 0 {
			a.overtook = interval
		}
	}
}

// pace says, when that changes, whether checkpoints are faster than their interval.
func (k *Keeper) pace(a *attempt) {
	took := time.Since(a.begin)
	switch {
	case a.overtook > 0 && !k.slow:
		level := zerolog.InfoLevel // of small ones the newest and the best are kept all the same
		if a.bytes > queueBytes {
			level = zerolog.WarnLevel
			k.say = fmt.Sprintf("a checkpoint of %d MB took %v, the next was due after %v: some are left out; raise checkpoint.every_steps or evaluate.every_steps, or give the store more speed",
				a.bytes/1e6, took.Round(time.Millisecond), a.overtook.Round(time.Millisecond))
		}
		k.Log.WithLevel(level).Int64("step", a.m.Step).Int64("dur_ms", took.Milliseconds()).Int64("interval_ms", a.overtook.Milliseconds()).
			Msg("checkpoints take longer than their interval, and some are left out: raise checkpoint.every_steps or evaluate.every_steps")
	case a.overtook == 0 && k.slow:
		k.Log.Info().Int64("step", a.m.Step).Int64("dur_ms", took.Milliseconds()).Msg("checkpoints are faster than their interval again")
	}
	k.slow = a.overtook > 0
}

// spool moves the shares that are in memory to local disk, and drops there what retention
// would not keep, so that training goes on while the store is away.
func (k *Keeper) spool() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		i := slices.IndexFunc(k.writing, func(a *attempt) bool { return a.inMemory && !a.stuck })
		if i < 0 {
			return
		}
		a := k.writing[i]
		for _, old := range surplus(k.writing) {
			if old != a && (old.file != "" || old.stuck) {
				k.giveUp(old, "a newer one waits for the store")
			}
		}
		a.cancel = func() {} // it is in use
		path, err := k.toDisk(a)
		a.cancel = nil
		switch {
		case !slices.Contains(k.writing, a): // given up meanwhile
			a.file = path
			a.drop()
		case err != nil:
			a.stuck = true
			k.Log.Warn().Err(err).Int64("step", a.m.Step).Msg("a checkpoint cannot wait on local disk; it waits in memory, unless a newer one needs the room")
		default:
			a.file, a.tensors, a.inMemory = path, nil, false
		}
		k.notify()
	}
}

var errNoSpool = errors.New("there is no folder for it")

// toDisk writes one share to local disk, where it makes room if it must. It is called with the
// lock, which it does not hold while it writes.
func (k *Keeper) toDisk(a *attempt) (path string, err error) {
	if k.Spool == "" {
		return "", errNoSpool
	}
	path = filepath.Join(k.Spool, fmt.Sprintf("%s-rank%d.safetensors", filepath.Base(a.prefix), a.rank))
	for {
		if err = k.fits(a); err == nil {
			k.mu.Unlock()
			err = a.toFile(path)
			k.mu.Lock()
		}
		if err == nil {
			return path, nil
		}
		// Room is made by the oldest; the best, which is what may be left of them, goes last.
		old := slices.IndexFunc(k.writing, func(x *attempt) bool { return x.file != "" })
		if old < 0 {
			return "", err
		}
		k.giveUp(k.writing[old], "local disk has no room for it")
	}
}

// fits tells whether the limit leaves room for a share.
func (k *Keeper) fits(a *attempt) error {
	used := a.bytes
	for _, x := range k.writing {
		if x.file != "" {
			used += x.bytes
		}
	}
	if used > k.SpoolBytes {
		return fmt.Errorf("%d bytes are more than the %d that may wait there", used, k.SpoolBytes)
	}
	return nil
}
