package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// agent plays a worker agent and its engines. What they have to say is sent as one message while the last one is on its way, as the real agent does.
type agent struct {
	id    string
	slots int
	api   tandemv1connect.AgentServiceClient

	mu      sync.Mutex
	known   map[string]bool // engines that are ready, and groups that train
	queue   []*tandemv1.EngineReport
	waiting chan struct{} // has a token when the queue is not empty
	// length is how long a trial takes; 0: for ever.
	length time.Duration
	trains map[string]*tandemv1.EngineReport // by engine: what its reports begin with
}

// addAgents joins agents and opens their sessions.
func (cl *cluster) addAgents(ctx context.Context, c Config) error {
	token, err := cl.token("agents", "worker")
	if err != nil {
		return err
	}
	for i := range c.Nodes {
		joined, err := identity.Join(ctx, identity.JoinConfig{Coordinators: []string{cl.all[0].Address()}, Token: token,
			Role: identity.RoleWorker, Hosts: []string{"127.0.0.1"}})
		if err != nil {
			return fmt.Errorf("join agent %d: %w", i, err)
		}
		via := joined.Credentials.HTTPClient(identity.RoleName(identity.RoleCoordinator))
		a := &agent{
			id: joined.Credentials.Identity.Node, slots: c.Slots/c.Nodes + min(1, max(0, c.Slots%c.Nodes-i)),
			api:   tandemv1connect.NewAgentServiceClient(via, cl.url(i)),
			known: map[string]bool{}, waiting: make(chan struct{}, 1), trains: map[string]*tandemv1.EngineReport{},
		}
		cl.agents = append(cl.agents, a)
		cl.wg.Go(func() { a.session(cl.ctx) })
		cl.wg.Go(func() { a.send(cl.ctx) })
	}
	return nil
}

// session follows what the agent should run.
func (a *agent) session(ctx context.Context) {
	n := &tandemv1.Node{Id: a.id, Name: a.id, Pool: "default", Address: "127.0.0.1:9", Incarnation: 1}
	for i := range a.slots {
		n.Slots = append(n.Slots, &tandemv1.Slot{Id: fmt.Sprintf("cpu%d", i), Device: "cpu"})
	}
	for ctx.Err() == nil {
		s, err := a.api.Session(ctx, connect.NewRequest(&tandemv1.SessionRequest{Node: n}))
		if err != nil {
			continue // the next try, or the end
		}
		for s.Receive() {
			for _, task := range s.Msg().GetEngines() {
				a.play(ctx, task)
			}
		}
		_ = s.Close() // it has ended
	}
}

// play lets an engine be ready, and train when it is in a group.
func (a *agent) play(ctx context.Context, task *tandemv1.EngineTask) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := task.GetId()
	if task.GetTrain().GetGroup() == nil {
		if !a.known[key] {
			a.known[key] = true
			a.add(&tandemv1.EngineReport{EngineId: key, Generation: task.GetGeneration(),
				Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: 1 << 40}}})
		}
		return
	}
	if a.trains[key] != nil {
		return
	}
	a.trains[key] = &tandemv1.EngineReport{EngineId: key, Generation: task.GetTrain().GetGroup().GetGeneration()}
	if a.length > 0 {
		time.AfterFunc(a.length, func() { a.finish(ctx, key) })
	}
}

// finish ends a trial.
func (a *agent) finish(ctx context.Context, key string) {
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.trains[key]
	a.add(evaluation(r, 1<<40), &tandemv1.EngineReport{EngineId: r.GetEngineId(), Generation: r.GetGeneration(),
		Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}})
}

func evaluation(r *tandemv1.EngineReport, step int64) *tandemv1.EngineReport {
	return &tandemv1.EngineReport{EngineId: r.GetEngineId(), Generation: r.GetGeneration(), Report: &tandemv1.EngineReport_Evaluation{
		Evaluation: &tandemv1.Evaluation{Step: step, Metrics: map[string]float64{"loss": 1}},
	}}
}

// add puts reports into the queue.
func (a *agent) add(reports ...*tandemv1.EngineReport) {
	a.queue = append(a.queue, reports...)
	select {
	case a.waiting <- struct{}{}:
	default:
	}
}

// send sends what is in the queue until it was taken.
func (a *agent) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.waiting:
		}
		a.mu.Lock()
		batch := a.queue
		a.queue = nil
		a.mu.Unlock()
		for len(batch) > 0 && ctx.Err() == nil {
			n := min(len(batch), 1000)
			if err := a.report(ctx, batch[:n]...); err == nil {
				batch = batch[n:]
			}
		}
	}
}

func (a *agent) report(ctx context.Context, reports ...*tandemv1.EngineReport) error {
	_, err := a.api.Report(ctx, connect.NewRequest(&tandemv1.ReportRequest{NodeId: a.id, Incarnation: 1, Reports: reports}))
	return err
}

// training returns the engines that train.
func (a *agent) training() []*tandemv1.EngineReport {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []*tandemv1.EngineReport
	for _, r := range a.trains {
		all = append(all, r)
	}
	return all
}

// reset forgets all engines, and says how long trials take from now on.
func (a *agent) reset(length time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.known)
	clear(a.trains)
	a.length = length
}
