package agent

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/proto/limit"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage/relay"
	"tandem.dev/worker/tunnel"
)

// maxEngineMessage is the largest message an engine may send, in bytes.
const maxEngineMessage = 1 << 20

// host serves engines. A process reaches it over the line that it inherited, and is heard for its own engine only.
type host struct {
	node       string // id
	supervisor *supervisor
	reports    *reportQueue
	progress   *progress
	rendezvous rendezvous
	tunnel     *tunnel.Tunnel
	objects    *objects
	goodput    *goodput
}

// rendezvous is the coordinator's store of values that ranks exchange. Both calls try until ctx ends.
type rendezvous interface {
	set(context.Context, *tandemv1.RendezvousSetRequest) error
	get(context.Context, *tandemv1.RendezvousGetRequest) ([]byte, error)
}

var _ tandemv1connect.EngineHostServiceHandler = (*host)(nil)

func (h *host) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(tandemv1connect.NewEngineHostServiceHandler(h, connect.WithReadMaxBytes(maxEngineMessage), connect.WithInterceptors(schema.Strict())))
	mux.Handle(relay.Path, inTurn(relay.Handler(h.access)))
	return mux
}

func over(err error) error { return connect.NewError(connect.CodeFailedPrecondition, err) }

// own is the engine of an id, if it is that of the process that calls.
func (h *host) own(ctx context.Context, id string) (*engine, error) {
	e, err := h.supervisor.findOf(id, callerOf(ctx))
	if err != nil {
		return nil, over(err)
	}
	return e, nil
}

// Hello gives an engine its task.
func (h *host) Hello(ctx context.Context, req *connect.Request[tandemv1.HelloRequest]) (*connect.Response[tandemv1.HelloResponse], error) {
	e, err := h.own(ctx, req.Msg.GetEngineId())
	if err != nil {
		return nil, err
	}
	// From here on it has a part of the store: it must be confined.
	if err := e.proc.policy.Check(e.proc.pid()); err != nil {
		return nil, over(err)
	}
	if e, err = h.supervisor.hello(req.Msg.GetEngineId()); err != nil {
		return nil, over(err)
	}
	return connect.NewResponse(&tandemv1.HelloResponse{
		Task: keyless(e.task), Threads: int32(e.threads), CacheBytes: h.supervisor.cfg.shards.Bytes, DiskBytes: h.supervisor.cfg.sandbox.Limits.Disk, NodeId: h.node, EndOfOutput: e.log.mark,
		InferDeadline: durationpb.New(h.supervisor.cfg.inferDeadline), PlainDataPlane: h.tunnel.Plain,
	}), nil
}

// NextTask gives an engine whose task is over another.
func (h *host) NextTask(ctx context.Context, req *connect.Request[tandemv1.NextTaskRequest]) (*connect.Response[tandemv1.NextTaskResponse], error) {
	if _, err := h.own(ctx, req.Msg.GetEngineId()); err != nil {
		return nil, err
	}
	id, err := h.supervisor.next(ctx, req.Msg.GetEngineId())
	if errors.Is(err, errOver) {
		return nil, over(err)
	}
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.NextTaskResponse{EngineId: id}), nil
}

// Control tells an engine its orders: those there are, and each change. The stream ends with the engine or the agent.
func (h *host) Control(ctx context.Context, req *connect.Request[tandemv1.ControlRequest], stream *connect.ServerStream[tandemv1.ControlResponse]) error {
	e, err := h.own(ctx, req.Msg.GetEngineId())
	if err != nil {
		return err
	}
	if err := stream.Send(nil); err != nil { // the headers: the engine knows that it is heard
		return err
	}
	var last orders
	for {
		now, changed := h.supervisor.ordersOf(e)
		for _, command := range now.commands(last) {
			if m, ok := now.member(e); ok && command.GetGroup() != nil && !h.tunnel.Plain {
				group := proto.CloneOf(command.GetGroup())
				group.BindHost = tunnel.Address(m.Group, m.Rank).String()
				command = &tandemv1.ControlResponse{Command: &tandemv1.ControlResponse_Group{Group: group}}
			}
			if err := stream.Send(command); err != nil {
				return err
			}
		}
		last = now
		select {
		case <-changed:
		case <-e.gone:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// ReportEngine queues a report.
func (h *host) ReportEngine(ctx context.Context, req *connect.Request[tandemv1.ReportEngineRequest]) (*connect.Response[tandemv1.ReportEngineResponse], error) {
	r := req.Msg.GetReport()
	if r.GetReport() == nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("the report is empty"))
	}
	if _, err := h.own(ctx, r.GetEngineId()); err != nil {
		return nil, err
	}
	h.supervisor.heard(r.GetEngineId())
	if outcome, ok := lastWord(r); ok {
		if err := h.supervisor.lastWord(r, outcome); err != nil {
			return nil, over(err)
		}
		return connect.NewResponse(&tandemv1.ReportEngineResponse{}), nil
	}
	if limit.Cut(r); limit.Check(r) != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, limit.Check(r))
	}
	if err := h.reports.push(ctx, r); err != nil {
		return nil, err
	}
	if r.GetReady() != nil {
		h.supervisor.isReady(r.GetEngineId())
	}
	return connect.NewResponse(&tandemv1.ReportEngineResponse{}), nil
}

// ReportEngineProgress keeps the latest progress of a trial, and is a sign of life of its engine.
func (h *host) ReportEngineProgress(ctx context.Context, req *connect.Request[tandemv1.ReportEngineProgressRequest]) (*connect.Response[tandemv1.ReportEngineProgressResponse], error) {
	e, err := h.own(ctx, req.Msg.GetEngineId())
	if err != nil {
		return nil, err
	}
	h.supervisor.heard(req.Msg.GetEngineId())
	if p := req.Msg.GetProgress(); p.GetTrialId() != "" && p.GetTrialId() == trialOf(e.task) {
		if err := limit.Check(p); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		h.progress.put(p)
	}
	return connect.NewResponse(&tandemv1.ReportEngineProgressResponse{}), nil
}

// EngineRendezvousSet sets a value for the other ranks. That its generation has passed does not end the engine: the next
// one is on its way to it.
func (h *host) EngineRendezvousSet(ctx context.Context, req *connect.Request[tandemv1.EngineRendezvousSetRequest]) (*connect.Response[tandemv1.EngineRendezvousSetResponse], error) {
	e, err := h.own(ctx, req.Msg.GetEngineId())
	if err != nil {
		return nil, err
	}
	ctx, cancel := whileThere(ctx, e)
	defer cancel()
	m, err := h.supervisor.memberOf(e, req.Msg.GetGeneration())
	if err != nil {
		return nil, over(err)
	}
	value, err := h.tunnel.Wrap(m, req.Msg.GetValue(), req.Msg.GetListens())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	err = h.rendezvous.set(ctx, &tandemv1.RendezvousSetRequest{
		AllocationId: m.Group.Allocation, Generation: m.Group.Generation, Key: req.Msg.GetKey(), Value: value,
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.EngineRendezvousSetResponse{}), nil
}

// EngineRendezvousGet waits for a value set by a rank.
func (h *host) EngineRendezvousGet(ctx context.Context, req *connect.Request[tandemv1.EngineRendezvousGetRequest]) (*connect.Response[tandemv1.EngineRendezvousGetResponse], error) {
	e, err := h.own(ctx, req.Msg.GetEngineId())
	if err != nil {
		return nil, err
	}
	ctx, cancel := whileThere(ctx, e)
	defer cancel()
	m, err := h.supervisor.memberOf(e, req.Msg.GetGeneration())
	if err != nil {
		return nil, over(err)
	}
	wrapped, err := h.rendezvous.get(ctx, &tandemv1.RendezvousGetRequest{
		AllocationId: m.Group.Allocation, Generation: m.Group.Generation, Key: req.Msg.GetKey(),
	})
	if err != nil {
		return nil, err
	}
	value, err := h.tunnel.Unwrap(m, wrapped)
	if errors.Is(err, tunnel.ErrMixed) || errors.Is(err, tunnel.ErrRefused) {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if err != nil {
		return nil, over(err) // the next generation listens elsewhere
	}
	return connect.NewResponse(&tandemv1.EngineRendezvousGetResponse{Value: value}), nil
}

// whileThere ends with the engine: nobody waits for the answer then.
func whileThere(ctx context.Context, e *engine) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-e.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
