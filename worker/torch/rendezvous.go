package torch

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/cgo"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rendezvous is what the c10d store of one group calls.
type rendezvous struct {
	ctx    context.Context // ends waits when the group is aborted or closed
	store  Rendezvous
	prefix string
	memory Memory
}

//export tandemSegmentOpen
func tandemSegmentOpen(h C.uintptr_t, pid, fd C.int32_t, errText **C.char) C.int {
	r, err := rendezvousOf(h)
	if err == nil {
		var f *os.File
		if f, err = r.memory.open(r.ctx, int(pid), int(fd)); err == nil {
			defer f.Close() // the caller gets its own
			var own int
			if own, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err == nil {
				return C.int(own)
			}
		}
	}
	*errText = C.CString(err.Error())
	return -1
}

//export tandemRendezvousSet
func tandemRendezvousSet(h C.uintptr_t, key *C.char, value *C.uint8_t, n C.size_t, errText **C.char) C.int {
	r, err := rendezvousOf(h)
	if err == nil {
		err = r.store.Set(r.ctx, r.prefix+C.GoString(key), C.GoBytes(unsafe.Pointer(value), C.int(n)))
	}
	return rendezvousCode(err, errText)
}

//export tandemRendezvousGet
func tandemRendezvousGet(h C.uintptr_t, key *C.char, timeoutMS C.int64_t, value **C.uint8_t, n *C.size_t, errText **C.char) C.int {
	r, err := rendezvousOf(h)
	if err != nil {
		return rendezvousCode(err, errText)
	}
	ctx := r.ctx
	if timeoutMS > 0 { // zero is c10d's "for ever"
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(timeoutMS)*time.Millisecond)
		defer cancel()
	}
	name := r.prefix + C.GoString(key)
	b, err := r.store.Get(ctx, name)
	if err != nil {
		return rendezvousCode(fmt.Errorf("wait for %s: %w", name, err), errText)
	}
	*value = (*C.uint8_t)(C.CBytes(b))
	*n = C.size_t(len(b))
	return C.TDM_OK
}

// rendezvousOf resolves a handle. A group that was closed may be asked by a
// backend that connects late; that is an error, no reason to panic through C.
func rendezvousOf(h C.uintptr_t) (r *rendezvous, err error) {
	defer func() {
		if recover() != nil {
			err = ErrClosed
		}
	}()
	return cgo.Handle(h).Value().(*rendezvous), nil
}

func rendezvousCode(err error, text **C.char) C.int {
	if err == nil {
		return C.TDM_OK
	}
	*text = C.CString(err.Error())
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return C.TDM_TIMEOUT
	case errors.Is(err, context.Canceled), errors.Is(err, ErrClosed):
		return C.TDM_ABORTED
	default:
		return C.TDM_ERROR
	}
}
