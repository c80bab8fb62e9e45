package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

const probePause = 3 * time.Second

// objects opens the store that the cluster names, once.
type objects struct {
	state *state.State
	open  func(*tandemv1.StorageConfig) (storage.Store, error)

	mu    sync.Mutex
	cfg   *tandemv1.StorageConfig
	store storage.Store
}

// get returns the store; storage.ErrUnavailable until the cluster has said where it is.
func (o *objects) get() (storage.Store, error) {
	cluster, ok := o.state.View().Cluster()
	if !ok {
		return nil, fmt.Errorf("%w: the cluster is being set up, try again in a moment", storage.ErrUnavailable)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store != nil && proto.Equal(o.cfg, cluster.GetStorage()) {
		return o.store, nil
	}
	s, err := o.open(cluster.GetStorage())
	if err != nil {
		return nil, fmt.Errorf("open the store %s at %s: %w", cluster.GetStorage().GetBucket(), cluster.GetStorage().GetEndpoint(), err)
	}
	o.cfg, o.store = cluster.GetStorage(), s
	return s, nil
}

// probe waits until the cluster has a store and the store answers. A store that answers but does not keep its contract
// is an error: checkpoints would be lost in it.
func (c *Coordinator) probe(ctx context.Context) error {
	for {
		v := c.state.View()
		if _, ok := v.Cluster(); ok {
			break
		}
		if err := c.state.Wait(ctx, v.Index()); err != nil {
			return err
		}
	}
	for {
		store, err := c.objects.get()
		if err == nil {
			err = storage.Probe(ctx, store)
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, storage.ErrUnavailable):
			return fmt.Errorf("check the store: %w", err)
		}
		c.log.Warn().Err(err).Dur("pause", probePause).Msg("the store does not answer, it is tried again")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(probePause):
		}
	}
}
