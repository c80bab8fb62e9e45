package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
)

const (
	firstPause = 200 * time.Millisecond
	maxPause   = 10 * time.Second // an outage that ends is noticed this late
	fullPause  = 30 * time.Second // between two tries of a full store: only a share that is sent tells whether it has room
	probeLimit = 10 * time.Second
)

// errGivenUp: a checkpoint was begun and not finished, for a reason that is not a failure.
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

// worker does the machine's tasks, one at a time. It ends when nothing is left.
func (k *Keeper) worker() {
	for k.do(k.next()) {
	}
}

// next returns the next task, and what it is about.
func (k *Keeper) next() (task, *attempt) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var t task = endTask{}
	if k.ctx.Err() == nil {
		t = k.m.next()
	}
	if t == (endTask{}) {
		k.working, k.m.changed = false, true
	}
	k.follow()
	switch t := t.(type) {
	case spoolTask:
		return t, k.attempts[t.number]
	case uploadTask:
		return t, k.attempts[t.number]
	case lookTask:
		return t, k.attempts[t.number]
	case commitTask:
		return t, k.attempts[t.number]
	case reportTask:
		return t, k.attempts[t.number]
	}
	return t, nil
}

// tell tells the machine what happened.
func (k *Keeper) tell(happened func(m *machine)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	happened(&k.m)
	k.follow()
}

// do does a task. It tells whether there may be another.
func (k *Keeper) do(t task, a *attempt) bool {
	switch t := t.(type) {
	case endTask:
		return false
	case pauseTask:
		short := k.sleep(t.d)
		k.tell(func(m *machine) { m.paused(short) })
	case probeTask:
		answers := k.answers()
		k.tell(func(m *machine) { m.probed(answers) })
	case spoolTask:
		path := filepath.Join(k.Spool, fmt.Sprintf("%s-rank%d.safetensors", filepath.Base(a.prefix), a.rank))
		err := a.toFile(path)
		k.tell(func(m *machine) {
			if err == nil {
				a.file, a.tensors = path, nil
			}
			m.spooled(t.number, err)
		})
	case uploadTask:
		err := k.upload(a, t.number)
		k.tell(func(m *machine) { m.uploaded(t.number, err) })
	case lookTask:
		missing, err := ckpt.Gather(k.ctx, k.Store, a.prefix, a.part(), a.shards)
		k.tell(func(m *machine) { m.looked(missing, err) })
	case commitTask:
		missing, err := k.commit(a)
		k.tell(func(m *machine) { m.committed(missing, err, time.Now()) })
	case reportTask:
		err := k.report(a)
		k.tell(func(m *machine) { m.reported(err, time.Now()) })
	case tellTask:
		if k.Tell != nil {
			k.Tell(k.ctx, t.warning, t.message)
		}
	}
	return true
}

// sleep returns after a time, or when there is more to do, which it tells, or at the end.
func (k *Keeper) sleep(d time.Duration) (short bool) {
	select {
	case <-k.wake:
		return true
	case <-time.After(d):
	case <-k.ctx.Done():
	}
	return false
}

// answers tells whether the store is back, without sending it a share.
func (k *Keeper) answers() bool {
	ctx, cancel := context.WithTimeout(k.ctx, probeLimit)
	defer cancel()
	_, err := k.Store.Head(ctx, k.Prefix+"/probe")
	return ctx.Err() == nil && !errors.Is(err, storage.ErrUnavailable)
}

// upload brings this rank's share to the store, until it is cancelled.
func (k *Keeper) upload(a *attempt, number int64) error {
	ctx, cancel := context.WithCancel(k.ctx)
	defer cancel()
	k.tell(func(m *machine) {
		a.cancel = cancel
		if find(m.writing, number) == nil { // given up meanwhile
			cancel()
		}
	})
	err := a.put(ctx, k.Store)
	k.tell(func(*machine) { a.cancel = nil })
	return err
}

// commit makes a checkpoint of the parts of all ranks, if none is missing.
func (k *Keeper) commit(a *attempt) (missing int, err error) {
	missing, err = ckpt.Gather(k.ctx, k.Store, a.prefix, a.part(), a.shards)
	if missing > 0 || err != nil {
		return missing, err
	}
	a.saved, err = ckpt.Commit(k.ctx, k.Store, a.prefix, a.m, slices.Concat(a.shards...))
	return 0, err
}

// report tells the coordinator of a checkpoint that is committed.
func (k *Keeper) report(a *attempt) error {
	c, err := record(a.saved, a.prefix)
	if err != nil {
		return err
	}
	k.Log.Info().Int64("step", a.m.Step).Str("ckpt", a.prefix).Int64("bytes", c.GetBytes()).Int("shards", len(a.saved.Shards)).
		Int64("dur_ms", time.Since(a.begin).Milliseconds()).Msg("checkpoint committed")
	if err := k.Report(k.ctx, c); err != nil {
		return fmt.Errorf("report checkpoint %s: %w", a.prefix, err)
	}
	return nil
}
