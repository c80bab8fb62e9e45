package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/pki"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

const (
	probePause = 3 * time.Second  // after a store that does not serve
	lookPause  = 5 * time.Second  // after one that does
	writePause = time.Minute      // between two looks that write: each costs money at some stores
	lookTime   = 30 * time.Second // for its answer
)

// objects opens the store that the cluster names, again when the cluster reaches it otherwise.
type objects struct {
	state *state.State
	seal  *pki.Seal
	open  func(*tandemv1.StorageConfig) (storage.Store, error)

	mu    sync.Mutex
	cfg   *tandemv1.StorageConfig
	store storage.Store
}

// get returns the store for those who wait for it: keys that it refuses are an outage to them.
func (o *objects) get() (storage.Store, error) {
	s, err := o.bare()
	if err != nil {
		return nil, err
	}
	return storage.Patient(s), nil
}

// bare returns the store as it is; storage.ErrUnavailable until the cluster has said where it is.
func (o *objects) bare() (storage.Store, error) {
	cluster, ok := o.state.View().Cluster()
	if !ok {
		return nil, fmt.Errorf("%w: the cluster is being set up, try again in a moment", storage.ErrUnavailable)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store != nil && proto.Equal(o.cfg, cluster.GetStorage()) {
		return o.store, nil
	}
	cfg, err := pki.OpenStorage(cluster.GetStorage(), o.seal)
	if err != nil {
		return nil, err
	}
	s, err := o.open(cfg)
	if err != nil {
		return nil, fmt.Errorf("open the store %s at %s: %w", cluster.GetStorage().GetBucket(), cluster.GetStorage().GetEndpoint(), err)
	}
	o.cfg, o.store = cluster.GetStorage(), s
	return s, nil
}

// probe waits until the cluster has a store and the store answers. One that does not let the cluster in is waited for too, as jobs can
// still be listed and somebody has to change the keys. A store that answers but does not keep its contract is an error: checkpoints
// would be lost in it.
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
	c.noteStorage()
	for {
		began := time.Now()
		store, err := c.objects.bare()
		if err == nil {
			err = storage.Probe(ctx, store)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			c.store.Store(&storeSight{at: began})
			return nil
		case errors.Is(err, storage.ErrDenied):
			c.proposeStorage(ctx)
		case !storage.IsOutage(err):
			return fmt.Errorf("check the store: %w", err)
		}
		c.store.Store(&storeSight{err, began})
		c.repeats.Warn(c.log, "store").Err(err).Dur("pause", probePause).Msg("the store does not serve, or is full: it is tried again; if its keys were changed, tell the cluster with: tandem store rotate")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(probePause):
		}
	}
}

// storeSight is what a coordinator has found out about the store itself.
type storeSight struct {
	err error     // what is wrong; nil: nothing
	at  time.Time // when the look that says so began: where nothing is wrong, the newest that wrote, for only a write finds everything
}

// fault is what is wrong with the store, nil if nothing is, or it was not looked at yet.
func (s *storeSight) fault() error {
	if s == nil {
		return nil
	}
	return s.err
}

// String is what people are told of a fault.
func (s *storeSight) String() string {
	if errors.Is(s.err, storage.ErrFull) {
		return "jobs can be looked at, and what they write waits: " + s.err.Error()
	}
	return "jobs can be looked at, but none can run: " + s.err.Error()
}

// storeFault is what is wrong with the store, nil if nothing is, and when the look that says so began; zero: none has.
func (c *Coordinator) storeFault() (*tandemv1.Reason, time.Time) {
	s := c.store.Load()
	switch {
	case s == nil:
		return nil, time.Time{}
	case s.err == nil:
		return nil, s.at
	}
	return say.StoreFault(s.err, errors.Is(s.err, storage.ErrFull)), s.at
}

// watchStore looks from time to time whether the store still serves, once it has, until ctx ends.
func (c *Coordinator) watchStore(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-c.ready:
	}
	told := func() bool {
		cluster, _ := c.state.View().Cluster()
		return cluster.GetStoreFault() != nil
	}
	lookOut{c.objects.get, &c.store, told, c.log}.run(ctx)
	return nil
}

// lookOut looks at a store that was seen already.
type lookOut struct {
	get  func() (storage.Store, error)
	seen *atomic.Pointer[storeSight]
	told func() bool // the cluster holds the store for one that does not serve: whether it does again, only a write tells
	log  zerolog.Logger
}

func (l lookOut) run(ctx context.Context) {
	for pause := lookPause; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		began, known := time.Now(), l.seen.Load()
		writes := known.err != nil || l.told() || began.Sub(known.at) >= writePause
		err := l.probe(ctx, writes)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil && (known.err == nil || errors.Is(err, storage.ErrFull) != errors.Is(known.err, storage.ErrFull)):
			l.log.Warn().Err(err).Msg("the store does not serve any more, or is full: what runs goes on, what begins or ends waits")
		case err == nil && known.err != nil:
			l.log.Info().Msg("the store serves again")
		}
		if pause = lookPause; err != nil {
			pause = probePause
		}
		if err != nil || writes {
			l.seen.Store(&storeSight{err, began})
		}
	}
}

// probe asks for an object that does not exist: the answer to a Get, unlike that to a Head, says why it is refused. Whether there is room
// only a write tells. It writes a byte, which may fit where a checkpoint does not: whose checkpoint that is says so itself.
func (l lookOut) probe(ctx context.Context, writes bool) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	store, err := l.get()
	if err != nil {
		return err
	}
	r, _, err := store.Get(ctx, "probe/look")
	if err == nil {
		_ = r.Close() // nothing was read
	}
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	if err == nil && writes {
		if err = store.Put(ctx, "probe/room", strings.NewReader("x"), 1); err == nil {
			err = store.Delete(ctx, "probe/room")
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: it did not answer within %v", storage.ErrUnavailable, lookTime)
	}
	return err
}

// noteStorage tells when this start names another store than the cluster's.
func (c *Coordinator) noteStorage() {
	kept, err := c.keptStorage()
	if differs := ignoredStorage(c.cfg.Storage, kept); err == nil && len(differs) > 0 {
		c.log.Warn().Strs("differs", differs).Str("endpoint", kept.GetEndpoint()).Str("bucket", kept.GetBucket()).Msg(
			"this start names another store than the cluster has: the cluster's is used, unless it denies access now and all coordinators can use the keys of this start (change them with: tandem store rotate)")
	}
}

func (c *Coordinator) keptStorage() (*tandemv1.StorageConfig, error) {
	cluster, _ := c.state.View().Cluster()
	return pki.OpenStorage(cluster.GetStorage(), c.seal)
}

// proposeStorage has the cluster take over the keys, the address and the CA of the store that this start names, when those it has are
// denied: so a start with new keys in its environment mends a cluster whose old keys were taken away. All coordinators try them first.
func (c *Coordinator) proposeStorage(ctx context.Context) {
	kept, err := c.keptStorage()
	given := c.cfg.Storage
	if err != nil || given.GetSecretKey() == "" || given.GetSecretKey() == kept.GetSecretKey() && given.GetAccessKey() == kept.GetAccessKey() {
		return
	}
	req := &tandemv1.SetStorageRequest{AccessKey: given.GetAccessKey(), SecretKey: given.GetSecretKey(), CaPem: given.GetCaPem()}
	if given.GetEndpoint() != "" {
		req.Endpoint, req.Region, req.Tls = given.GetEndpoint(), given.GetRegion(), &given.Tls
	}
	if _, err := c.clusterClient(c.port.address).SetStorage(ctx, connect.NewRequest(req)); err != nil {
		c.log.Warn().Err(err).Msg("the keys of this start were not taken over by the cluster")
		return
	}
	c.log.Info().Msg("the cluster has taken over the keys of this start for its store")
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
