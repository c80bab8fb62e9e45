package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/consensus"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

type peers struct{ *API }

// Propose implements PeerService.
func (a peers) Propose(ctx context.Context, req *connect.Request[tandemv1.ProposeRequest]) (*connect.Response[tandemv1.ProposeResponse], error) {
	if p := req.Msg.GetCommand().GetAnnounceProgram(); p != nil {
		if err := a.checkProgram(ctx, p.GetProgram()); err != nil {
			return nil, err
		}
	}
	res, err := a.deps.Consensus.ProposeLocal(ctx, req.Msg.GetCommand())
	return answer(&tandemv1.ProposeResponse{Result: res}, err)
}

// maxLevel is the highest feature level that a coordinator may say it knows: there is one a release.
const maxLevel = 10_000

// checkProgram checks what a coordinator says of itself, which all are shown: it speaks for itself alone, once it is one of them.
func (a peers) checkProgram(ctx context.Context, p *tandemv1.Program) error {
	if err := checkSender(ctx, p.GetId()); err != nil {
		return err
	}
	switch {
	case !slices.ContainsFunc(a.deps.Voters.Peers(), func(peer consensus.Peer) bool { return peer.ID == p.GetId() }):
		return precondition(fmt.Sprintf("%s is not one of the coordinators", p.GetId()))
	case p.GetLevel() > maxLevel:
		return invalid(fmt.Sprintf("level: must be at most %d, and is %d", maxLevel, p.GetLevel()))
	}
	return printable("version", p.GetVersion())
}

// printable refuses a text for people that is not text on one line.
func printable(field, text string) error {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return invalid(fmt.Sprintf("%s: %.40q has characters that cannot be printed", field, text))
	}
	return nil
}

// ReadIndex implements PeerService.
func (a peers) ReadIndex(ctx context.Context, _ *connect.Request[tandemv1.ReadIndexRequest]) (*connect.Response[tandemv1.ReadIndexResponse], error) {
	index, err := a.deps.Consensus.ReadIndexLocal(ctx)
	return answer(&tandemv1.ReadIndexResponse{Index: index}, err)
}

// Share implements PeerService.
func (a peers) Share(_ context.Context, req *connect.Request[tandemv1.ShareRequest]) (*connect.Response[tandemv1.ShareResponse], error) {
	a.deps.Board.Put(req.Msg.GetProgress(), false)
	a.deps.Board.Hear(req.Msg.GetHeard(), time.Now())
	return connect.NewResponse(&tandemv1.ShareResponse{}), nil
}
