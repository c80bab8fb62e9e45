package agent

import (
	"errors"
	"fmt"
	"net/http"
	"sync"

	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/relay"
)

// objects is the store of the cluster, as the newest desired state says how to reach it. Engines, their logs and the cache of shards
// use it, so that new keys reach them while they run. Keys that the store refuses are waited for like a store that is away.
type objects struct {
	open func(*tandemv1.StorageConfig) (storage.Store, error)

	mu     sync.Mutex
	config *tandemv1.StorageConfig
	store  storage.Store // nil: not opened yet
}

// errNoStore means that no desired state has said yet where the store is.
var errNoStore = errors.New("the agent does not know yet where the store is")

// learn takes what a desired state says.
func (o *objects) learn(desired *tandemv1.SessionResponse) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, task := range desired.GetEngines() {
		if c := task.GetStorage(); c != nil && !proto.Equal(c, o.config) {
			o.config, o.store = c, nil // who uses the former one goes on with it until its request is over
		}
	}
}

// get returns the store. Its errors are storage.ErrUnavailable: a newer desired state may mend what is wrong.
func (o *objects) get() (storage.Store, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.config == nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, errNoStore)
	}
	if o.store == nil {
		s, err := o.open(o.config)
		if err != nil {
			return nil, fmt.Errorf("%w: open the store at %s: %w", storage.ErrUnavailable, o.config.GetEndpoint(), err)
		}
		o.store = storage.Patient(s)
	}
	return o.store, nil
}

// keyless is a task as its engine gets it. How to reach the store is not its business.
func keyless(t *tandemv1.EngineTask) *tandemv1.EngineTask {
	t = proto.CloneOf(t)
	t.Storage = nil
	return t
}

// access is what a process may do with the store: what the task needs that it is at, while that may act.
func (h *host) access(r *http.Request) (relay.Access, error) {
	e, err := h.supervisor.engineOf(callerOf(r.Context()))
	if err != nil {
		return relay.Access{}, err
	}
	store, err := h.objects.get()
	if err == nil {
		store = h.goodput.store(store)
	}
	return relay.Access{Store: store, Allow: func(op relay.Op, key string) error { return mayUse(e.task, op, key) }}, err
}

// inTurn lets a process have as many requests to the store under way as an engine makes; more wait. Each holds a connection to
// the store, and may hold memory.
func inTurn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from := callerOf(r.Context()); from != nil {
			select {
			case from.requests <- struct{}{}:
				defer func() { <-from.requests }()
			case <-r.Context().Done():
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
