package api

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/pki"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

type cluster struct{ *API }

var (
	nodeIDRE   = regexp.MustCompile(`^node-[0-9a-z]{26}$`)
	hostNameRE = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
)

// forwardedHeader marks a call that another coordinator passed on, so that it goes no further.
const forwardedHeader = "Tandem-Forwarded"

// passOn marks a call that goes on to the leader, in the name of who made it.
func passOn(ctx context.Context, h http.Header) {
	h.Set(forwardedHeader, "1")
	h.Set(actorHeader, From(ctx).Name)
}

// GetCluster implements ClusterService.
func (a cluster) GetCluster(ctx context.Context, _ *connect.Request[tandemv1.GetClusterRequest]) (*connect.Response[tandemv1.GetClusterResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	alive := a.alive(v)
	res := &tandemv1.GetClusterResponse{
		Id: a.deps.Self.Identity.Cluster, AppliedIndex: v.Index(), Version: a.cfg.Version,
		Level: int32(v.Level()), KnownLevel: schema.Known, Quarantined: v.Quarantined(), Rotation: rotation(v), //nolint:gosec // one a release
	}
	row, _ := v.Cluster()
	res.Retention = row.GetRetention()
	for _, p := range a.deps.Voters.Peers() {
		said, _ := v.Program(p.ID)
		row, _ := v.Coordinator(p.ID)
		res.Peers = append(res.Peers, &tandemv1.Peer{
			Id: p.ID, Address: p.Address, Leader: p.Leader, Alive: alive[p.ID], Learner: !p.Voter,
			Version: said.GetVersion(), Level: said.GetLevel(), ClockOffset: row.GetClockOffset(), CertificateExpiresAt: row.GetCertificateExpiresAt(),
		})
	}
	for _, n := range v.Nodes() {
		res.Workers = append(res.Workers, &tandemv1.Worker{Id: n.GetId(), Name: n.GetName(), Version: n.GetAgentVersion(), Level: n.GetLevel()})
	}
	return connect.NewResponse(res), nil
}

// alive are the coordinators that are there: those that the leader has heard of when it looked last, itself, and this one.
func (a cluster) alive(v *state.View) map[string]bool {
	leader, _ := a.deps.Voters.Leader()
	alive := map[string]bool{a.deps.Self.Identity.Node: true, leader: true}
	for _, c := range v.Coordinators() {
		alive[c.GetId()] = alive[c.GetId()] || c.GetAlive()
	}
	return alive
}

// JoinCluster implements ClusterService.
func (a cluster) JoinCluster(ctx context.Context, req *connect.Request[tandemv1.JoinClusterRequest]) (*connect.Response[tandemv1.JoinClusterResponse], error) {
	m := req.Msg
	token, err := identity.ParseJoinToken(m.GetToken())
	if err != nil {
		return nil, &plainError{ErrUnauthenticated, err.Error()}
	}
	row, err := a.token(ctx, From(ctx).Address, token.String())
	seen := witnessed(ctx)
	seen.who = bearer(row, From(ctx).Address)
	if err != nil && !errors.Is(err, ErrUnauthenticated) {
		return nil, err
	}
	if err != nil || !row.GetJoin() || row.GetRole() != string(token.Role) {
		return nil, &plainError{ErrUnauthenticated, "this join token is not valid: make a new one with \"tandem token create --join\""}
	}
	if err := checkHosts(m.GetHosts()); err != nil {
		return nil, err
	}
	key, err := pki.CheckRequest(m.GetCsr())
	if err != nil {
		return nil, &plainError{errInvalid, err.Error()}
	}
	now := time.Now()
	if err := a.maySign(req.Header(), now); err != nil {
		return nil, err
	}
	node, err := a.admitNode(ctx, row, key)
	if err != nil {
		return nil, err
	}
	seen.subject = node
	who := identity.Identity{Cluster: a.deps.Self.Identity.Cluster, Role: token.Role, Node: node}
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	ca, err := a.signer(v)
	if err != nil {
		return nil, err
	}
	cert, err := ca.Sign(who, key, m.GetHosts(), now)
	if err != nil {
		return nil, err
	}
	res := &tandemv1.JoinClusterResponse{
		NodeId: node, ClusterId: who.Cluster, Certificate: cert, CaCertificate: ca.Certificate.Raw,
		Coordinators: a.coordinators(),
	}
	if res.Keys, err = a.keys(v); err != nil {
		return nil, err
	}
	res.GossipKey = res.GetKeys().GetGossipKeys()[0]
	for _, member := range a.deps.Members() {
		if member.Role == identity.RoleCoordinator {
			res.Gossip = append(res.Gossip, member.Gossip)
		}
	}
	if token.Role == identity.RoleCoordinator {
		if res.CaKey, err = ca.KeyDER(); err != nil {
			return nil, err
		}
		res.SealKey = a.deps.Seal.Key()
	}
	a.deps.Log.Info().Str("node", node).Str("role", string(token.Role)).Str("token", row.GetName()).Msg("node joined")
	return connect.NewResponse(res), nil
}

// admitNode uses a join token for the node whose key it is, and returns the identity that the node has from then on: never
// one that was, for an identity is proved by its key, not by a join token. Who asks again with the same key, since the answer
// was lost, is told the same and uses the token once.
func (a cluster) admitNode(ctx context.Context, token *tandemv1.Token, key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", invalid("csr: its key is of a kind that is not known")
	}
	sum := sha256.Sum256(der)
	res, err := a.deps.Consensus.Propose(ctx, &tandemv1.Command{
		RequestId: "join " + token.GetId() + " " + hex.EncodeToString(sum[:]), Actor: token.GetName(),
		Command: &tandemv1.Command_AdmitNode{AdmitNode: &tandemv1.AdmitNode{TokenId: token.GetId(), NodeId: id.New("node")}},
	})
	if err != nil {
		return "", err
	}
	err = refused(res)
	if refusedAs(err, connect.CodeFailedPrecondition) { // the token has ended or is used up, which is a denial
		err = &refusal{connect.CodePermissionDenied, res.GetWhy()}
	}
	return res.GetId(), err
}

// checkHosts looks at what is to stand in a certificate: it must not be a name by which nodes verify each other.
func checkHosts(hosts []string) error {
	for _, h := range hosts {
		if net.ParseIP(h) == nil && !hostNameRE.MatchString(h) {
			return invalid(fmt.Sprintf("hosts: %q is neither an address nor the name of a host", h))
		}
		if identity.Reserved(h) {
			return invalid(fmt.Sprintf("hosts: %q is a name that belongs to the cluster", h))
		}
	}
	return nil
}

// coordinators are the API ports of all coordinators.
func (a *API) coordinators() []string {
	var all []string
	for _, p := range a.deps.Voters.Peers() {
		all = append(all, p.Address)
	}
	return all
}

// AddPeer implements ClusterService.
func (a cluster) AddPeer(ctx context.Context, req *connect.Request[tandemv1.AddPeerRequest]) (*connect.Response[tandemv1.AddPeerResponse], error) {
	if p := From(ctx); p.Node != "" && p.Node != req.Msg.GetId() && req.Header().Get(forwardedHeader) == "" {
		return nil, fmt.Errorf("%w: a coordinator may only add itself", ErrDenied)
	}
	if _, _, err := net.SplitHostPort(req.Msg.GetAddress()); err != nil {
		return nil, invalid("address: must be host:port")
	}
	if !nodeIDRE.MatchString(req.Msg.GetId()) {
		return nil, invalid("id: is not the id of a node")
	}
	if address, err := a.elsewhere(ctx, req.Header().Get(forwardedHeader) != ""); err != nil {
		return nil, err
	} else if address != "" {
		on := connect.NewRequest(req.Msg)
		passOn(ctx, on.Header())
		return a.deps.Peer(address).AddPeer(ctx, on)
	}
	err := a.admit(ctx, req.Msg)
	return answer(&tandemv1.AddPeerResponse{}, err)
}

// admit takes a coordinator in as the leader, one at a time: only then does a learner that knows of itself know of all
// others, whom it may have to vote for.
func (a cluster) admit(ctx context.Context, m *tandemv1.AddPeerRequest) error {
	a.adding.Lock()
	defer a.adding.Unlock()
	if removed, ok := a.deps.State.View().RemovedNode(m.GetId()); ok {
		return &refusal{connect.CodeFailedPrecondition, state.WhyRemoved(removed)}
	}
	if level := a.deps.State.View().Level(); int(m.GetLevel()) < level {
		return precondition(fmt.Sprintf("the cluster is at feature level %d and coordinator %s (version %s) knows %d: start the version that the other coordinators have", level, m.GetId(), m.GetVersion(), m.GetLevel()))
	}
	known, joining := false, ""
	for _, p := range a.deps.Voters.Peers() {
		switch {
		case p.ID != m.GetId():
			if p.Address == m.GetAddress() {
				return precondition(addressTaken(p))
			}
			if !p.Voter {
				joining = p.ID
			}
		case p.Address == m.GetAddress() && (p.Voter || m.GetLearner()):
			return nil // it is that already
		default:
			known = true
		}
	}
	add := a.deps.Voters.AddPeer
	switch {
	case known && !m.GetLearner():
	case !m.GetLearner():
		return precondition("coordinator " + m.GetId() + " is not a peer yet: add it as a learner first")
	case !known && joining != "":
		return connect.NewError(connect.CodeUnavailable, fmt.Errorf("coordinator %s is joining, and one joins at a time: try again when it has, or remove it with DELETE /v1/cluster/peers/%s", joining, joining))
	default:
		add = a.deps.Voters.AddLearner
	}
	if err := add(ctx, m.GetId(), m.GetAddress()); err != nil {
		return err
	}
	a.deps.Log.Info().Str("node", m.GetId()).Str("address", m.GetAddress()).Bool("learner", m.GetLearner()).Msg("coordinator added")
	return nil
}

// addressTaken says what to do when a coordinator asks for the address of another one.
func addressTaken(p consensus.Peer) string {
	return fmt.Sprintf("address %s is that of coordinator %s: if that one is lost for good, run \"tandem cluster remove-peer %s\" first, and this one takes its place; otherwise start this one on another address", p.Address, p.ID, p.ID)
}

// RemovePeer implements ClusterService.
func (a cluster) RemovePeer(ctx context.Context, req *connect.Request[tandemv1.RemovePeerRequest]) (*connect.Response[tandemv1.RemovePeerResponse], error) {
	if address, err := a.elsewhere(ctx, req.Header().Get(forwardedHeader) != ""); err != nil {
		return nil, err
	} else if address != "" {
		on := connect.NewRequest(req.Msg)
		passOn(ctx, on.Header())
		return a.deps.Peer(address).RemovePeer(ctx, on)
	}
	err := a.dismiss(ctx, req.Msg.GetId())
	return answer(&tandemv1.RemovePeerResponse{}, err)
}

// dismiss takes a coordinator out as the leader. It is kept out first: should the rest fail, it cannot come back before the
// operator asks again.
func (a cluster) dismiss(ctx context.Context, peer string) error {
	a.adding.Lock()
	defer a.adding.Unlock()
	known, voter, rest, silent := false, false, 0, []string(nil)
	for _, p := range a.deps.Voters.Peers() {
		switch {
		case p.ID == peer:
			known, voter = true, p.Voter
		case p.Voter:
			rest++
			// As of this moment: what the state says is older.
			if p.ID != a.deps.Self.Identity.Node && !a.deps.Voters.Contact(p.ID).Answers() {
				silent = append(silent, p.ID)
			}
		}
	}
	switch {
	case !known:
		return state.Missing("coordinator", peer)
	case rest == 0:
		return precondition("this is the only coordinator: add another one first")
	case voter && rest-len(silent) <= rest/2:
		return precondition(fmt.Sprintf("without coordinator %s no majority would be left and the cluster would stand still: %d of the other %d do not answer (%s); start them again, or remove those that are lost for good first", peer, len(silent), rest, strings.Join(silent, ", ")))
	}
	_, _, err := a.write(ctx, nil, &tandemv1.Command{Command: &tandemv1.Command_RemovePeer{RemovePeer: &tandemv1.RemovePeer{PeerId: peer}}})
	if err != nil {
		return err
	}
	if err := a.deps.Voters.RemovePeer(ctx, peer); err != nil {
		return err
	}
	a.deps.Log.Info().Str("node", peer).Msg("coordinator removed")
	return nil
}

// elsewhere is the address of the leader when that is another coordinator. While one is elected it is waited for.
func (a *API) elsewhere(ctx context.Context, forwarded bool) (string, error) {
	if a.deps.Voters.IsLeader() {
		return "", nil
	}
	if forwarded {
		return "", consensus.ErrNotLeader
	}
	if _, err := a.view(ctx); err != nil {
		return "", err
	}
	if a.deps.Voters.IsLeader() {
		return "", nil
	}
	_, address := a.deps.Voters.Leader()
	if address == "" {
		return "", consensus.ErrNoLeader
	}
	return address, nil
}
