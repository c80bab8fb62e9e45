package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/worker/checkpoint"
	"tandem.dev/worker/elastic"
	"tandem.dev/worker/line"
)

// host is the line to the agent.
type host struct {
	client tandemv1connect.EngineHostServiceClient
	line   *line.Line
	id     string
	log    zerolog.Logger

	generation atomic.Int64 // of the group the engine is in, or of the task
	trial      string       // of the task, if it is of one
	totalSteps int64        // of the whole training, once it is known
	// What a member says of the network when it is ready: nodes of the group to be joined that were not reached, and where those of
	// the others may try to reach it.
	unreachable []elastic.Unreached
	address     string
	latest      chan *tandemv1.Progress
}

func newHost(id string, wire *line.Line, log zerolog.Logger) *host {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return wire.Dial(ctx) }}
	client := tandemv1connect.NewEngineHostServiceClient(&http.Client{Transport: transport}, "http://agent")
	return &host{client: client, line: wire, id: id, log: log, latest: make(chan *tandemv1.Progress, 1)}
}

// hello gets the task.
func (h *host) hello(ctx context.Context) (*tandemv1.HelloResponse, error) {
	res, err := h.client.Hello(ctx, connect.NewRequest(&tandemv1.HelloRequest{EngineId: h.id, Pid: int32(os.Getpid())}))
	if err != nil {
		return nil, fmt.Errorf("ask the agent for the task of %s: %w", h.id, err)
	}
	task := res.Msg.GetTask()
	h.generation.Store(task.GetGeneration())
	h.trial = task.GetTrain().GetTrialId() + task.GetPublish().GetTrialId()
	return res.Msg, nil
}

// next waits for another task, after the mark that ends what was written for the one before; "" when the agent has none.
func (h *host) next(ctx context.Context, mark string) (string, error) {
	for _, out := range []*os.File{os.Stdout, os.Stderr} {
		if _, err := fmt.Fprintln(out, mark); err != nil {
			return "", fmt.Errorf("end the output of %s: %w", h.id, err)
		}
	}
	res, err := h.client.NextTask(ctx, connect.NewRequest(&tandemv1.NextTaskRequest{EngineId: h.id}))
	switch {
	case ctx.Err() != nil, connect.CodeOf(err) == connect.CodeFailedPrecondition:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("ask the agent for another task: %w", err)
	}
	return res.Msg.GetEngineId(), nil
}

// control reads commands until the stream ends, which means that the agent is gone.
func (h *host) control(ctx context.Context, put func(*tandemv1.ControlResponse)) error {
	stream, err := h.client.Control(ctx, connect.NewRequest(&tandemv1.ControlRequest{EngineId: h.id}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if c := stream.Msg(); c.GetCommand() != nil {
			h.told(c)
			put(c)
		}
	}
	return stream.Err()
}

// told writes down what the agent wants, in the words of who reads the log of a job.
func (h *host) told(c *tandemv1.ControlResponse) {
	switch command := c.GetCommand().(type) {
	case *tandemv1.ControlResponse_Stop:
		h.log.Info().Msg("is to stop at the next step, with a checkpoint")
	case *tandemv1.ControlResponse_Group:
		g := command.Group
		h.log.Info().Int64("gen", g.GetGeneration()).Int32("rank", g.GetRank()).Int32("world", g.GetWorldSize()).Msg("another process group is formed")
	case *tandemv1.ControlResponse_Break:
		h.log.Info().Int64("gen", command.Break.GetGeneration()).Msg("lets go of its process group")
	}
}

// Report implements train.Reporter: it returns when the agent has the report.
func (h *host) Report(ctx context.Context, r *tandemv1.EngineReport) error {
	r.EngineId, r.Generation = h.id, h.generation.Load()
	_, err := h.client.ReportEngine(ctx, connect.NewRequest(&tandemv1.ReportEngineRequest{Report: r}))
	if connect.CodeOf(err) == connect.CodeFailedPrecondition {
		return fmt.Errorf("report to the agent: %w: %w", checkpoint.ErrStale, err)
	}
	if err != nil {
		return fmt.Errorf("report to the agent: %w", err)
	}
	return nil
}

// Progress implements train.Reporter: only the newest is kept for the sender, with the steps of those before it.
func (h *host) Progress(p *tandemv1.Progress) {
	p.TrialId, p.Generation = h.trial, h.generation.Load()
	select {
	case unsent := <-h.latest:
		p.StepTime = sum(unsent.GetStepTime(), p.GetStepTime())
	default:
	}
	select {
	case h.latest <- p:
	default:
	}
}

// sum is where the time of the steps of both went; nil: neither has any.
func sum(a, b *tandemv1.StepTime) *tandemv1.StepTime {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	return &tandemv1.StepTime{
		Steps: a.GetSteps() + b.GetSteps(), Data: a.GetData() + b.GetData(), Forward: a.GetForward() + b.GetForward(),
		Backward: a.GetBackward() + b.GetBackward(), Communication: a.GetCommunication() + b.GetCommunication(),
		Optimizer: a.GetOptimizer() + b.GetOptimizer(), Checkpoint: a.GetCheckpoint() + b.GetCheckpoint(), Other: a.GetOther() + b.GetOther(),
	}
}

// lifeEvery is how often the engine says at least that it lives.
const lifeEvery = time.Second

// sendProgress runs beside the work until ctx ends, then sends what is left. It gives signs of life too.
func (h *host) sendProgress(ctx context.Context) {
	send := func(ctx context.Context, p *tandemv1.Progress) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if _, err := h.client.ReportEngineProgress(ctx, connect.NewRequest(&tandemv1.ReportEngineProgressRequest{Progress: p, EngineId: h.id})); err != nil && !errors.Is(err, context.Canceled) {
			h.log.Debug().Err(err).Msg("progress was lost")
		}
	}
	life := time.NewTicker(lifeEvery)
	defer life.Stop()
	for {
		select {
		case p := <-h.latest:
			send(context.WithoutCancel(ctx), p)
		case <-life.C:
			send(ctx, nil)
		case <-ctx.Done():
			select {
			case p := <-h.latest:
				send(context.WithoutCancel(ctx), p)
			default:
			}
			return
		}
	}
}

// Ready implements elastic.Reporter.
func (h *host) Ready(ctx context.Context) error {
	unreachable, filtered := nodesOf(h.unreachable)
	return h.Report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{
		TotalSteps: h.totalSteps, Unreachable: unreachable, Filtered: filtered, Address: h.address,
	}}})
}

// Broken implements elastic.Reporter.
func (h *host) Broken(ctx context.Context, b elastic.ReportBroken) error {
	h.generation.Store(b.Generation)
	unreachable, filtered := nodesOf(b.Unreachable)
	return h.Report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Broken{Broken: &tandemv1.GroupBroken{
		Step: b.Step, Message: b.Message, Hung: b.Hung, Unreachable: unreachable, Filtered: filtered,
	}}})
}

// nodesOf are the nodes that were not reached, and those of them whose agents answered.
func nodesOf(unreached []elastic.Unreached) (all, filtered []string) {
	for _, u := range unreached {
		all = append(all, u.Node)
		if u.Filtered {
			filtered = append(filtered, u.Node)
		}
	}
	return all, filtered
}

// meeting is where the ranks of one generation meet: the rendezvous of the coordinator.
type meeting struct {
	host       *host
	generation int64
	listen     string        // where ranks of other hosts are let in by the agent; empty: they connect by themselves
	patience   time.Duration // with each value; 0: no end
}

// Set implements torch.Rendezvous.
func (m meeting) Set(ctx context.Context, key string, value []byte) error {
	listens, err := listening(m.listen)
	if err != nil {
		return err
	}
	_, err = m.host.client.EngineRendezvousSet(ctx, connect.NewRequest(&tandemv1.EngineRendezvousSetRequest{
		EngineId: m.host.id, Generation: m.generation, Key: key, Value: value, Listens: listens,
	}))
	return passed(ctx, err)
}

// Get implements torch.Rendezvous.
func (m meeting) Get(ctx context.Context, key string) ([]byte, error) {
	if m.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.patience)
		defer cancel()
	}
	res, err := m.host.client.EngineRendezvousGet(ctx, connect.NewRequest(&tandemv1.EngineRendezvousGetRequest{
		EngineId: m.host.id, Generation: m.generation, Key: key,
	}))
	if err != nil {
		return nil, passed(ctx, err)
	}
	return res.Msg.GetValue(), nil
}

// errPassed: the generation that was to be formed is over.
var errPassed = errors.New("the generation is over")

func passed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case connect.CodeOf(err) == connect.CodeDeadlineExceeded: // the agent knows the deadline too, and may be the first to see it pass
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	case connect.CodeOf(err) == connect.CodeFailedPrecondition:
		return fmt.Errorf("%w: %w", errPassed, err)
	}
	return err
}
