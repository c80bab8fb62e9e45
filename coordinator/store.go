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
	c.warnOfStorage()
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

// warnOfStorage tells when this start names another store than the one the cluster was founded with.
func (c *Coordinator) warnOfStorage() {
	cluster, _ := c.state.View().Cluster()
	kept := cluster.GetStorage()
	if differs := ignoredStorage(c.cfg.Storage, kept); len(differs) > 0 {
		c.log.Warn().Strs("ignored", differs).Str("endpoint", kept.GetEndpoint()).Str("bucket", kept.GetBucket()).Msg(
			"the store of a cluster is fixed when it is founded: what this start says otherwise is ignored (tandem up keeps port and keys of its own)")
	}
}

// ignoredStorage names what a start says of the store other than the cluster keeps. Where it names no endpoint, bucket,
// region and TLS are but defaults.
func ignoredStorage(given, kept *tandemv1.StorageConfig) []string {
	var differs []string
	note := func(name string, said, same bool) {
		if said && !same {
			differs = append(differs, name)
		}
	}
	named := given.GetEndpoint() != ""
	note("endpoint", named, given.GetEndpoint() == kept.GetEndpoint())
	note("bucket", named, given.GetBucket() == kept.GetBucket())
	note("region", named && given.GetRegion() != "", given.GetRegion() == kept.GetRegion())
	note("tls", named, given.GetTls() == kept.GetTls())
	note("prefix", given.GetPrefix() != "", given.GetPrefix() == kept.GetPrefix())
	note("access key", given.GetAccessKey() != "", given.GetAccessKey() == kept.GetAccessKey())
	note("secret key", given.GetSecretKey() != "", given.GetSecretKey() == kept.GetSecretKey())
	note("CA", given.GetCaPem() != "", given.GetCaPem() == kept.GetCaPem())
	return differs
}
