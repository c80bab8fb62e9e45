package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/plausible"
	"tandem.dev/coordinator/spec"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

type agents struct{ *API }

// Session implements AgentService.
func (a agents) Session(ctx context.Context, req *connect.Request[tandemv1.SessionRequest], stream *connect.ServerStream[tandemv1.SessionResponse]) error {
	node := req.Msg.GetNode()
	if err := checkNode(ctx, node); err != nil {
		return err
	}
	res, err := a.propose(ctx, &tandemv1.Command{Command: &tandemv1.Command_RegisterNode{RegisterNode: &tandemv1.RegisterNode{Node: node}}})
	if err != nil {
		return err
	}
	end := a.deps.Board.OpenSession(node.GetId())
	defer func() { end(time.Now()) }()
	// What this coordinator applied before the node was registered is not about this session.
	if err := a.deps.State.Wait(ctx, res.GetIndex()-1); err != nil {
		return err
	}
	var last *tandemv1.SessionResponse
	var removed []string // that the agent knows of
	viewers := &tandemv1.Viewers{}
	var sent time.Time
	for {
		v := a.deps.State.View()
		if err := a.superseded(v, node); err != nil {
			return err
		}
		registered, _ := v.Node(node.GetId())
		now := &tandemv1.SessionResponse{
			Index: v.Index(), Engines: state.Desired(v, node.GetId()), Coordinators: a.coordinators(), Cordoned: registered.GetCordoned(),
			KeysVersion: keysVersion(v),
		}
		if err := a.openStorage(now.GetEngines()); err != nil {
			return err
		}
		if ids := removedIDs(v); last == nil || !slices.Equal(ids, removed) {
			removed, now.Removed = ids, &tandemv1.Removed{NodeIds: ids}
		}
		if all := viewersOf(v); last == nil || !proto.Equal(all, viewers) {
			viewers, now.Viewers = all, all
		}
		if last != nil && now.GetRemoved() == nil && now.GetViewers() == nil && sameSession(last, now) {
			beat, err := a.idle(ctx, v.Index(), sent.Add(a.cfg.Beat))
			if err != nil {
				return err
			}
			if !beat {
				continue
			}
		}
		sent = time.Now()
		now.Time = timestamppb.New(sent)
		if err := stream.Send(now); err != nil {
			return err
		}
		last = now
	}
}

func removedIDs(v *state.View) []string {
	var ids []string
	for _, n := range v.RemovedNodes() {
		ids = append(ids, n.GetId())
	}
	return ids
}

// viewersOf are the tokens that may read metrics, and nothing more than look. By the hash of 32 random bytes nobody gets in.
func viewersOf(v *state.View) *tandemv1.Viewers {
	all := &tandemv1.Viewers{}
	for _, t := range v.AllTokens() {
		if t.GetRole() == "viewer" && !t.GetJoin() {
			all.Tokens = append(all.Tokens, &tandemv1.ViewerToken{Sha256: t.GetSha256(), ExpiresAt: t.GetExpiresAt()})
		}
	}
	return all
}

// idle waits for a change of the state, or for the time due of a sign of life, which it returns true for. The state may
// change all the time without a change for the node: that puts nothing off.
func (a agents) idle(ctx context.Context, index uint64, due time.Time) (beat bool, err error) {
	waiting, cancel := context.WithDeadline(ctx, due)
	defer cancel()
	err = a.deps.State.Wait(waiting, index)
	switch {
	case err == nil:
		return !time.Now().Before(due), nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	}
	return true, nil
}

func sameSession(a, b *tandemv1.SessionResponse) bool {
	return a.GetCordoned() == b.GetCordoned() && a.GetKeysVersion() == b.GetKeysVersion() && slices.Equal(a.GetCoordinators(), b.GetCoordinators()) &&
		slices.EqualFunc(a.GetEngines(), b.GetEngines(), func(x, y *tandemv1.EngineTask) bool { return proto.Equal(x, y) })
}

// superseded ends a session when the node has a newer one, or was removed. A node that was marked as lost while its
// session was open registers again.
func (a agents) superseded(v *state.View, node *tandemv1.Node) error {
	if removed, ok := v.RemovedNode(node.GetId()); ok {
		return &refusal{connect.CodePermissionDenied, state.WhyRemoved(removed)}
	}
	n, _ := v.Node(node.GetId())
	switch {
	case n.GetIncarnation() > node.GetIncarnation():
		return precondition("a newer session of node " + node.GetId() + " has come")
	case n.GetState() == tandemv1.NodeState_NODE_STATE_LOST:
		return connect.NewError(connect.CodeUnavailable, errors.New("the node was marked as lost; open a new session"))
	}
	return nil
}

// checkNode checks what an agent says of its node: it must be the one of its certificate.
func checkNode(ctx context.Context, n *tandemv1.Node) error {
	if err := checkSender(ctx, n.GetId()); err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(n.GetAddress()); err != nil || port == "" || port == "0" {
		return invalid("node.address: must be host:port")
	}
	if !spec.IsName(n.GetPool()) {
		return invalid("node.pool: " + spec.NameRule)
	}
	for _, f := range [][2]string{
		{"name", n.GetName()}, {"address", n.GetAddress()}, {"agent_version", n.GetAgentVersion()}, {"libtorch_version", n.GetLibtorchVersion()},
	} {
		if err := printable("node."+f[0], f[1]); err != nil {
			return err
		}
	}
	for _, f := range n.GetFullFolders() {
		if err := printable("node.full_folders", f.GetPath()+f.GetCause()); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for _, s := range n.GetSlots() {
		if s.GetId() == "" || seen[s.GetId()] {
			return invalid(fmt.Sprintf("node.slots: id %q is empty or there twice", s.GetId()))
		}
		seen[s.GetId()] = true
	}
	return nil
}

func checkSender(ctx context.Context, node string) error {
	if p := From(ctx); p.Node != node {
		return fmt.Errorf("%w: the certificate is that of %s, not of %q", ErrDenied, p.Node, node)
	}
	return nil
}

// Report implements AgentService.
func (a agents) Report(ctx context.Context, req *connect.Request[tandemv1.ReportRequest]) (*connect.Response[tandemv1.ReportResponse], error) {
	m := req.Msg
	if err := checkSender(ctx, m.GetNodeId()); err != nil {
		return nil, err
	}
	if len(m.GetReports()) == 0 && !m.GetLeaving() {
		return connect.NewResponse(&tandemv1.ReportResponse{}), nil
	}
	refusals, over, seqs := make([]string, len(m.GetReports())), make([]bool, len(m.GetReports())), make([]int64, len(m.GetReports()))
	cmd := &tandemv1.ApplyReports{NodeId: m.GetNodeId(), Incarnation: m.GetIncarnation(), Leaving: m.GetLeaving()}
	var at []int // of the reports in the command
	for i, r := range m.GetReports() {
		why, err := a.implausible(ctx, r)
		if err != nil {
			return nil, err
		}
		if why != "" {
			refusals[i] = why
			continue
		}
		ckpt := ""
		if r.GetCheckpoint() != nil {
			ckpt = id.New("ckpt")
		}
		cmd.Reports, cmd.Ids, at = append(cmd.Reports, r), append(cmd.Ids, ckpt), append(at, i)
	}
	if len(at) == 0 && !m.GetLeaving() {
		return connect.NewResponse(&tandemv1.ReportResponse{Refusals: refusals, Over: over, Seqs: seqs}), nil
	}
	res, err := a.propose(ctx, &tandemv1.Command{Command: &tandemv1.Command_ApplyReports{ApplyReports: cmd}})
	if err != nil {
		return nil, err
	}
	for k, seq := range res.GetSeqs()[:min(len(at), len(res.GetSeqs()))] {
		seqs[at[k]] = seq
	}
	for k, why := range res.GetPartWhys()[:min(len(at), len(res.GetPartWhys()))] {
		refusals[at[k]], over[at[k]] = say.Clause(why, say.Plain), why.GetCode() == tandemv1.Reason_CODE_ENGINE_OVER
	}
	return connect.NewResponse(&tandemv1.ReportResponse{Refusals: refusals, Over: over, Seqs: seqs}), nil
}

// implausible says why a report is not to be written down; "" when it is. The state here may be behind what the agent was told by another
// coordinator, so that it is asked again before anything is refused: a refused report does not come again.
func (a agents) implausible(ctx context.Context, r *tandemv1.EngineReport) (string, error) {
	if plausible.Report(a.deps.State.View(), r) != "" {
		v, err := a.view(ctx)
		if err != nil {
			return "", err
		}
		if why := plausible.Report(v, r); why != "" {
			return why, nil
		}
	}
	if r.GetNote() != nil && !a.notes.Allow(r.GetEngineId(), time.Now()) {
		return "the engine has made too many notes: this one is dropped", nil
	}
	return "", nil
}

// ReportProgress implements AgentService.
func (a agents) ReportProgress(ctx context.Context, req *connect.Request[tandemv1.ReportProgressRequest]) (*connect.Response[tandemv1.ReportProgressResponse], error) {
	v, node := a.deps.State.View(), From(ctx).Node
	var running []*tandemv1.Progress
	for _, p := range req.Msg.GetProgress() {
		// A node speaks only for trials that run on it. One that this coordinator does not know of yet is told again soon.
		t, ok := v.Trial(p.GetTrialId())
		if !ok {
			continue
		}
		al, ok := v.Allocation(t.GetAllocationId())
		if !ok || !slices.ContainsFunc(al.GetMembers(), func(m *tandemv1.Member) bool { return m.GetNodeId() == node }) {
			continue
		}
		if !state.HasGroup(al) && p.GetGeneration() == t.GetGeneration()+1 {
			p.Generation = t.GetGeneration() // it prepares for a group that is not committed yet
		}
		if p.GetGeneration() == t.GetGeneration() && plausible.Progress(t, p) == "" {
			running = append(running, p)
		}
	}
	a.deps.Board.Put(running, true)
	return connect.NewResponse(&tandemv1.ReportProgressResponse{}), nil
}
