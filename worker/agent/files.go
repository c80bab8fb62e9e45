package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/dataset"
	"tandem.dev/worker/data"
	"tandem.dev/worker/line"
)

// file opens what a process asks for, and nothing that is not its engine's.
func (h *host) file(ctx context.Context, from *runner, q *tandemv1.FileRequest) (*os.File, error) {
	e, err := h.supervisor.findOf(q.GetEngineId(), from)
	if err != nil {
		return nil, over(err)
	}
	switch {
	case q.GetShard() != nil:
		return h.shard(ctx, e, q.GetShard())
	case q.GetSegment() != nil:
		return segment(allocationOf(e.task), q.GetSegment())
	}
	return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("no file is named"))
}

// shard opens a shard of the dataset that an engine trains on, to read. The cache is the agent's alone: what one engine could write there,
// others would train on.
func (h *host) shard(ctx context.Context, e *engine, q *tandemv1.ShardFile) (*os.File, error) {
	prefix := e.task.GetTrain().GetDatasetPrefix()
	hash, err := hex.DecodeString(q.GetSha256())
	switch {
	case prefix == "" || !strings.HasPrefix(q.GetKey(), prefix+"/"):
		return nil, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("%q is not of the dataset of the task", q.GetKey()))
	case err != nil || len(hash) != 32 || hex.EncodeToString(hash) != q.GetSha256() || q.GetBytes() <= 0:
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("not the hash and size of a shard"))
	}
	store, err := h.objects.get()
	if err != nil {
		return nil, data.Coded(err)
	}
	sh := dataset.Shard{Key: q.GetKey(), SHA256: q.GetSha256(), Bytes: q.GetBytes()}
	f, err := h.supervisor.cfg.shards.File(ctx, sh, func() (io.ReadCloser, error) {
		r, _, err := store.Get(ctx, sh.Key)
		return r, err
	})
	return f, data.Coded(err)
}

// segment opens memory that another rank of the allocation has made, whose process this engine may not look into. That rank may belong to
// another agent of this machine.
func segment(allocation string, q *tandemv1.SegmentFile) (*os.File, error) {
	refuse := func(err error) (*os.File, error) {
		return nil, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("open the memory of process %d: %w", q.GetPid(), err))
	}
	own := "/memfd:" + line.MemoryName(allocation) + " (deleted)"
	path := fmt.Sprintf("/proc/%d/fd/%d", q.GetPid(), q.GetFd())
	// What else it may be is not even opened; and whether it is still the same is seen once it is.
	if target, err := os.Readlink(path); err != nil || target != own || allocation == "" {
		return refuse(errors.Join(err, errors.New("it is not memory of the allocation")))
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return refuse(err)
	}
	f := os.NewFile(uintptr(fd), own)
	if target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil || target != own {
		return refuse(errors.Join(err, f.Close(), errors.New("it is not memory of the allocation any more")))
	}
	return f, nil
}
