package agent

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// progress keeps the latest progress of each trial and forwards what is new. What cannot be forwarded at once is lost:
// there is newer by then.
type progress struct {
	every time.Duration
	send  func(context.Context, []*tandemv1.Progress) error
	live  func() map[string]bool   // trials that have engines here
	done  func(*tandemv1.StepTime) // told of all steps

	begun chan struct{} // a trial has begun, or done its first step: people wait for that
	told  atomic.Bool   // the next message is sent even if it is empty

	mu     sync.Mutex
	latest map[string]*tandemv1.Progress // by trial
	fresh  map[string]bool
}

func newProgress(every time.Duration, send func(context.Context, []*tandemv1.Progress) error, live func() map[string]bool, done func(*tandemv1.StepTime)) *progress {
	return &progress{every: every, send: send, live: live, done: done, begun: make(chan struct{}, 1), latest: map[string]*tandemv1.Progress{}, fresh: map[string]bool{}}
}

func (p *progress) put(now *tandemv1.Progress) {
	trial := now.GetTrialId()
	if trial == "" {
		return
	}
	p.done(now.GetStepTime())
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.latest[trial]
	if old.GetGeneration() > now.GetGeneration() {
		return
	}
	if old.GetGeneration() < now.GetGeneration() || old.GetStep() == 0 && now.GetStep() > 0 {
		select {
		case p.begun <- struct{}{}:
		default: // it is to be sent anyway
		}
	}
	p.latest[trial], p.fresh[trial] = now, true
}

// tell has a message sent soon, even if there is nothing new: it carries the time of this machine's clock.
func (p *progress) tell() { p.told.Store(true) }

// take returns what is new since the last call, and forgets trials that have left the node.
func (p *progress) take() []*tandemv1.Progress {
	live := p.live()
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*tandemv1.Progress
	for trial, now := range p.latest {
		if p.fresh[trial] {
			all = append(all, now)
		}
		if !live[trial] {
			delete(p.latest, trial)
		}
	}
	clear(p.fresh)
	return all
}

// speed is the sum over the trials here.
func (p *progress) speed() (steps, samples float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, now := range p.latest {
		steps += now.GetStepsPerSecond()
		samples += now.GetSamplesPerSecond()
	}
	return steps, samples
}

func (p *progress) run(ctx context.Context) error {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-p.begun:
		}
		if all := p.take(); p.told.Swap(false) || len(all) > 0 {
			call, cancel := context.WithTimeout(ctx, 2*time.Second)
			_ = p.send(call, all) // lost: the session notices a connection that is gone
			cancel()
		}
	}
}
