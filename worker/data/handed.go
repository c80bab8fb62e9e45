package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
)

// Handed are shards that the agent of this node opens for an engine, which has no right to the folder of the cache.
type Handed struct {
	Engine string // its id
	Ask    func(context.Context, *tandemv1.FileRequest) (*os.File, error)
}

// File implements Shards. The agent reads the object, so that open is not needed.
func (h Handed) File(ctx context.Context, sh dataset.Shard, _ func() (io.ReadCloser, error)) (*os.File, error) {
	f, err := h.Ask(ctx, &tandemv1.FileRequest{EngineId: h.Engine, File: &tandemv1.FileRequest_Shard{Shard: &tandemv1.ShardFile{
		Key: sh.Key, Sha256: sh.SHA256, Bytes: sh.Bytes,
	}}})
	var answer *connect.Error
	if errors.As(err, &answer) {
		for _, c := range codes {
			if answer.Code() == c.code {
				return nil, fmt.Errorf("%w: %s", c.err, answer.Message())
			}
		}
	}
	return f, err
}

// Coded gives an error of Shards the code by which Handed knows it again.
func Coded(err error) error {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return connect.NewError(c.code, err)
		}
	}
	return err
}

var codes = []struct {
	err  error
	code connect.Code
}{
	{ErrNoRoom, connect.CodeResourceExhausted},
	{dataset.ErrCorrupt, connect.CodeDataLoss},
	{storage.ErrNotFound, connect.CodeNotFound},
	{storage.ErrUnavailable, connect.CodeUnavailable},
}
