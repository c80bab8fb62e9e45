package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/pki"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

// probeTime is how long a coordinator has to try a store.
const probeTime = 30 * time.Second

// SetStorage implements ClusterService.
func (a cluster) SetStorage(ctx context.Context, req *connect.Request[tandemv1.SetStorageRequest]) (*connect.Response[tandemv1.SetStorageResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	c, _ := v.Cluster()
	now, err := pki.OpenStorage(c.GetStorage(), a.deps.Seal)
	if err != nil {
		return nil, err
	}
	next, err := changedStorage(now, req.Msg)
	if err != nil {
		return nil, err
	}
	if _, err := a.deps.OpenStore(next); err != nil {
		return nil, invalid(err.Error()) // no coordinator can
	}
	if err := a.probeAll(ctx, v, next); err != nil {
		return nil, err
	}
	_, _, err = a.write(ctx, req.Msg, &tandemv1.Command{Command: &tandemv1.Command_PutStorage{
		PutStorage: &tandemv1.PutStorage{Storage: pki.CloseStorage(next, a.deps.Seal)},
	}})
	return answer(&tandemv1.SetStorageResponse{}, err)
}

// changedStorage is the store with what a request changes.
func changedStorage(now *tandemv1.StorageConfig, m *tandemv1.SetStorageRequest) (*tandemv1.StorageConfig, error) {
	if (m.GetAccessKey() == "") != (m.GetSecretKey() == "") {
		return nil, invalid("access_key and secret_key: give both, or none")
	}
	next := proto.CloneOf(now)
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&next.Endpoint, m.GetEndpoint()}, {&next.Region, m.GetRegion()}, {&next.AccessKey, m.GetAccessKey()},
		{&next.SecretKey, m.GetSecretKey()}, {&next.CaPem, m.GetCaPem()},
	} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	if m.Tls != nil {
		next.Tls = m.GetTls()
	}
	if proto.Equal(now, next) {
		return nil, invalid("nothing of the store would change")
	}
	return next, nil
}

// probeAll has each coordinator that is alive try a store: none of them may lose it by the change.
func (a cluster) probeAll(ctx context.Context, v *state.View, next *tandemv1.StorageConfig) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	alive := a.alive(v)
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	for _, p := range a.deps.Voters.Peers() {
		if !alive[p.ID] {
			continue // it reads of it when it is back
		}
		wg.Go(func() {
			var err error
			if p.ID == a.deps.Self.Identity.Node {
				err = a.tryStorage(ctx, next)
			} else {
				_, err = a.deps.Peers(p.Address).ProbeStorage(ctx, connect.NewRequest(&tandemv1.ProbeStorageRequest{Storage: next}))
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, fmt.Errorf("coordinator %s: %w", p.ID, err))
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return precondition("nothing was changed, for not all coordinators can use the store so: " + failed.Error())
	}
	return nil
}

func (a *API) tryStorage(ctx context.Context, c *tandemv1.StorageConfig) error {
	s, err := a.deps.OpenStore(c)
	if err != nil {
		return &plainError{errInvalid, err.Error()}
	}
	return storage.Probe(ctx, s)
}

// ProbeStorage implements PeerService.
func (a peers) ProbeStorage(ctx context.Context, req *connect.Request[tandemv1.ProbeStorageRequest]) (*connect.Response[tandemv1.ProbeStorageResponse], error) {
	err := a.tryStorage(ctx, req.Msg.GetStorage())
	return answer(&tandemv1.ProbeStorageResponse{}, err)
}

// openStorage puts the store's keys into the tasks of a session.
func (a *API) openStorage(tasks []*tandemv1.EngineTask) error {
	if len(tasks) == 0 {
		return nil
	}
	open, err := pki.OpenStorage(tasks[0].GetStorage(), a.deps.Seal)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		t.Storage = open // Desired has made the tasks; all have the store of the cluster
	}
	return nil
}
