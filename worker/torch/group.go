package torch

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"bytes"
	"context"
	"fmt"
	"runtime/cgo"
	"sync"
	"time"
	"unsafe"
)

// Group is one rank's end of a process group: shared memory on one host and Gloo between hosts on the CPU; NCCL on CUDA, where each
// rank has a device of its own and NCCL is there, else as on the CPU, through the host's memory.
// Every rank calls the same collectives in the same order, one at a time.
// After a collective failed, the group is of no more use: Close it.
type Group struct {
	config GroupConfig
	store  cgo.Handle
	cancel context.CancelFunc // ends waits at the rendezvous

	transport string

	mu      sync.Mutex // held during collectives, so that Close waits for them
	abortMu sync.Mutex // guards handle against Abort during Close
	handle  *C.tdm_group
}

// NewGroup connects this rank with the others and returns when all are there.
// ctx bounds the joining only, wherever it waits: when it ends, NewGroup returns at once.
func NewGroup(ctx context.Context, c GroupConfig) (*Group, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	// The store outlives ctx: NCCL connects when it is first used.
	storeCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g := &Group{
		config: c, cancel: cancel, handle: C.tdm_group_new(C.int32_t(c.Rank), C.int32_t(c.WorldSize), C.tdm_device(c.Device.index())),
		store: cgo.NewHandle(&rendezvous{ctx: storeCtx, store: c.Rendezvous, prefix: c.Prefix, memory: c.Memory}),
	}
	release := context.AfterFunc(ctx, func() { g.Abort(context.Cause(ctx).Error()) })
	cc := C.tdm_group_config{
		bind_address: C.CString(c.BindAddress), timeout_ms: C.int64_t(c.Timeout.Milliseconds()),
		plain: cbool(c.Plain), host: C.CString(c.host), segment: C.CString(c.Memory.name()), no_segment: cbool(c.noSegment), no_room: cbool(c.noRoom),
	}
	defer C.free(unsafe.Pointer(cc.bind_address))
	defer C.free(unsafe.Pointer(cc.host))
	defer C.free(unsafe.Pointer(cc.segment))
	err := check(C.tdm_group_join(g.handle, C.uintptr_t(g.store), &cc))
	if !release() {
		err = ctx.Err()
	}
	if err != nil {
		g.Close()
		return nil, fmt.Errorf("join process group as rank %d of %d: %w", c.Rank, c.WorldSize, err)
	}
	g.transport = C.GoString(C.tdm_group_transport(g.handle))
	return g, nil
}

// Rank is this process's number in the group, from 0.
func (g *Group) Rank() int { return g.config.Rank }

// WorldSize is the number of ranks.
func (g *Group) WorldSize() int { return g.config.WorldSize }

// Transport says how values travel, for a log line: "shared memory" between ranks of one host, "shared memory and gloo",
// "gloo", "nccl"; behind "gloo", in parentheses, why ranks of one host share no memory.
func (g *Group) Transport() string { return g.transport }

// AllReduceSum replaces values by their sums over all ranks, the same bits on each.
func (g *Group) AllReduceSum(values []float64) error {
	return g.collective("all-reduce", func() C.tdm_status {
		return C.tdm_group_all_reduce(g.handle, (*C.double)(unsafe.SliceData(values)), C.size_t(len(values)))
	})
}

// Broadcast returns root's bytes on every rank; what the others give is of no account.
func (g *Group) Broadcast(root int, b []byte) ([]byte, error) {
	if root < 0 || root >= g.config.WorldSize {
		return nil, fmt.Errorf("broadcast: there is no rank %d of %d", root, g.config.WorldSize)
	}
	var out *C.uint8_t
	var n C.size_t
	err := g.collective("broadcast", func() C.tdm_status {
		return C.tdm_group_broadcast(g.handle, C.int32_t(root), (*C.uint8_t)(unsafe.SliceData(b)), C.size_t(len(b)), &out, &n)
	})
	if err != nil {
		return nil, err
	}
	defer C.tdm_bytes_free(out)
	return bytes.Clone(unsafe.Slice((*byte)(out), n)), nil
}

func (g *Group) collective(name string, call func() C.tdm_status) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.handle == nil {
		return fmt.Errorf("%s: %w", name, ErrClosed)
	}
	if err := check(call()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Waiting says how long this rank has been waiting for the others now; 0: it is not, or not in a collective. Any goroutine may
// call it. A step over NCCL waits on the device and is not seen here.
func (g *Group) Waiting() time.Duration {
	g.abortMu.Lock()
	defer g.abortMu.Unlock()
	if g.handle == nil {
		return 0
	}
	return time.Duration(C.tdm_group_waiting_ns(g.handle))
}

// inPlace is how many bytes of gradients are reduced where they lie, in memory that the ranks of this host share.
func (g *Group) inPlace() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.handle == nil {
		return 0
	}
	return int64(C.tdm_group_in_place(g.handle))
}

// wakesUnderWay says whether Abort wakes also who has sent or received a part of a message over Gloo, whose classes have to be known for that.
func wakesUnderWay() bool { return C.tdm_wakes_under_way() != 0 }

// Abort wakes a collective that waits, a Trainer's step included: it returns ErrAborted with why.
// The other ranks see ErrPeerLost. Any goroutine may call it, also after Close.
func (g *Group) Abort(why string) {
	g.abortMu.Lock()
	defer g.abortMu.Unlock()
	if g.handle == nil {
		return
	}
	g.cancel()
	text := C.CString(why)
	defer C.free(unsafe.Pointer(text))
	C.tdm_group_abort(g.handle, text)
}

// Close leaves the group, aborting what still waits in it. A Trainer of this group is closed first, or given another group.
func (g *Group) Close() {
	if !g.mu.TryLock() {
		g.Abort("the process group was closed")
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	g.abortMu.Lock()
	defer g.abortMu.Unlock()
	if g.handle == nil {
		return
	}
	g.cancel()
	C.tdm_group_free(g.handle)
	g.handle = nil
	g.store.Delete()
}
