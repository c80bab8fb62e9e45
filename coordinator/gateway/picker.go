package gateway

import "sync"

// picker counts what is in flight to each replica.
type picker struct {
	mu       sync.Mutex
	inFlight map[string]int
	turn     int
}

func newPicker() *picker { return &picker{inFlight: map[string]int{}} }

// pick takes the replica with the least in flight; equals take turns. done must follow.
func (p *picker) pick(found []target) target {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	best := found[p.turn%len(found)]
	for i := range found {
		t := found[(p.turn+i)%len(found)]
		if p.inFlight[t.replica.GetId()] < p.inFlight[best.replica.GetId()] {
			best = t
		}
	}
	p.inFlight[best.replica.GetId()]++
	return best
}

func (p *picker) done(t target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inFlight[t.replica.GetId()]--; p.inFlight[t.replica.GetId()] <= 0 {
		delete(p.inFlight, t.replica.GetId())
	}
}
