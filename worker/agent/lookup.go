package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/tunnel"
)

// errPassed means that an engine acts for a generation that is not the one it was told to be in last.
var errPassed = errors.New("the orders of this engine are for another generation")

// errOver means that an engine must not act any more.
var errOver = errors.New("this engine's task is over: end")

// find returns the engine of an id that may act.
func (s *supervisor) find(id string) (*engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.findLocked(id)
}

// findOf is find for a process, which is heard for its own engine only.
func (s *supervisor) findOf(id string, from *runner) (*engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.findLocked(id)
	if err == nil && e.proc != from {
		return nil, fmt.Errorf("engine %q is another process: %w", id, errOver)
	}
	return e, err
}

// engineOf is the engine that a process is at, if that has asked for its task and may act.
func (s *supervisor) engineOf(from *runner) (*engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from == nil {
		return nil, errors.New("it is not known which engine asks")
	}
	e := from.engine
	if e.fenced || e.phase == phaseKilled || !e.greeted {
		return nil, fmt.Errorf("engine %q: %w", e.task.GetId(), errOver)
	}
	return e, nil
}

// findLocked needs mu. An id has one generation at a time, for it names an allocation.
func (s *supervisor) findLocked(id string) (*engine, error) {
	for key, e := range s.engines {
		if key.id == id && !e.fenced && e.phase != phaseKilled {
			return e, nil
		}
	}
	return nil, fmt.Errorf("engine %q: %w", id, errOver)
}

// hello gives an engine its task.
func (s *supervisor) hello(id string) (*engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.findLocked(id)
	if err != nil {
		return nil, err
	}
	if e.phase == phaseStarting {
		e.phase, e.greeted = phaseUp, true
		s.wakeUp() // it may have been asked to stop meanwhile
		if !isReplica(e.task) {
			go s.probe(e, s.listen(e)) // ends with the engine; leave waits for that
		}
	}
	return e, nil
}

// lastWord queues the last report of an engine and takes note of it, both or none: an engine that is gone a moment
// later has said how it ended.
func (s *supervisor) lastWord(r *tandemv1.EngineReport, outcome string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.findLocked(r.GetEngineId())
	if err != nil {
		return err
	}
	if e.outcome != "" {
		return nil // asked again because the answer was lost
	}
	e.spoke, e.outcome, e.failed = time.Now(), outcome, r.GetFailed().GetMessage()
	s.reports.pushNow(r)
	s.wakeUp()
	return nil
}

// isReady takes note that an engine works.
func (s *supervisor) isReady(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, err := s.findLocked(id); err == nil && e.phase == phaseUp {
		e.phase = phaseReady
		if isReplica(e.task) {
			go s.probe(e, func(ctx context.Context) error { return s.ask(ctx, e.socket) }) // as above
		}
	}
}

// heard takes note of a sign of life.
func (s *supervisor) heard(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, err := s.findLocked(id); err == nil {
		e.heard = true
	}
}

// ordersOf returns the orders of an engine and a channel that is closed when they change.
func (s *supervisor) ordersOf(e *engine) (orders, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.orders, e.told
}

// members are the ranks of this node's engines, by their orders.
func (s *supervisor) members() []tunnel.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []tunnel.Member
	for _, e := range s.engines {
		if m, ok := e.orders.member(e); ok && !e.fenced && e.phase != phaseKilled {
			all = append(all, m)
		}
	}
	return all
}

// memberOf is the rank of an engine in a generation. The error matches errPassed where its orders are for another.
func (s *supervisor) memberOf(e *engine, generation int64) (tunnel.Member, error) {
	now, _ := s.ordersOf(e)
	m, ok := now.member(e)
	if !ok || m.Group.Generation != generation {
		return m, fmt.Errorf("generation %d: %w", generation, errPassed)
	}
	return m, nil
}

// fence kills the engine of an id that is not wanted any more.
func (s *supervisor) fence(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range s.engines {
		if key.id != id || e.fenced {
			continue
		}
		e.fenced, e.quiet = true, true
		if e.reason == "" {
			e.reason = "the coordinator has given up on it"
		}
		s.wakeUp()
	}
}

// replicaSocket is where a replica serves; false when it is not here.
func (s *supervisor) replicaSocket(id string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.engines {
		if isReplica(e.task) && e.task.GetServe().GetReplicaId() == id && e.phase != phaseStarting && e.phase < phaseTerminating {
			return e.socket, true
		}
	}
	return "", false
}

// states counts engines that have a task by phase.
func (s *supervisor) states() map[phase]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[phase]int{}
	for _, e := range s.engines {
		if e.idle.IsZero() {
			n[e.phase]++
		}
	}
	return n
}

// slots counts slots and those that have an engine.
func (s *supervisor) slots() (total, used int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	busy := map[string]bool{}
	for _, e := range s.engines {
		if e.idle.IsZero() {
			busy[e.task.GetSlotId()] = true
		}
	}
	return len(s.cfg.slots), len(busy)
}

// trials are the trials that engines here work for.
func (s *supervisor) trials() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]bool{}
	for _, e := range s.engines {
		if t := trialOf(e.task); t != "" && e.idle.IsZero() {
			all[t] = true
		}
	}
	return all
}
