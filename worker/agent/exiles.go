package agent

import "sync/atomic"

// exiles are the nodes and coordinators that were removed from the cluster, as the coordinators last told. Their certificates are
// refused, though they are valid for years.
type exiles struct {
	ids atomic.Pointer[map[string]bool]
}

func (e *exiles) put(ids []string) {
	all := make(map[string]bool, len(ids))
	for _, id := range ids {
		all[id] = true
	}
	e.ids.Store(&all)
}

func (e *exiles) has(node string) bool {
	all := e.ids.Load()
	return all != nil && (*all)[node]
}
