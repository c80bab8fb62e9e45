package coordinator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protojson"

	"tandem.dev/coordinator/id"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestRevocationEndsStreams: what a token or a node has open ends when it is revoked, ends or is removed, and says so.
func TestRevocationEndsStreams(t *testing.T) {
	r := startOne(t)
	admin := r.admin(t)
	tokens := tandemv1connect.NewTokenServiceClient(admin, r.url())
	makeDataset(t, r, admin)
	job, err := tandemv1connect.NewJobServiceClient(admin, r.url()).SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec()}))
	if err != nil {
		t.Fatal(err)
	}
	made := func(name string, ttl int64) string {
		t.Helper()
		res, err := tokens.CreateToken(t.Context(), connect.NewRequest(&tandemv1.CreateTokenRequest{Name: name, Role: "user", TtlSeconds: ttl}))
		if err != nil {
			t.Fatal(err)
		}
		return res.Msg.GetSecret()
	}
	// open has all kinds of streams of a token; what it returns tells how each of them ended.
	open := func(secret string) map[string]chan error {
		t.Helper()
		c := r.client(secret)
		t.Cleanup(c.CloseIdleConnections)
		jobs, id := tandemv1connect.NewJobServiceClient(c, r.url()), job.Msg.GetJob().GetId()
		ended := map[string]chan error{"watch": make(chan error, 1), "logs": make(chan error, 1), "upload": make(chan error, 1)}
		watch, err := jobs.WatchJob(t.Context(), connect.NewRequest(&tandemv1.WatchJobRequest{Id: id}))
		if err != nil || !watch.Receive() {
			t.Fatal(err, watch.Err())
		}
		go func() {
			for watch.Receive() {
			}
			ended["watch"] <- watch.Err()
		}()
		go func() {
			logs, err := jobs.StreamLogs(t.Context(), connect.NewRequest(&tandemv1.StreamLogsRequest{Id: id, Follow: true}))
			if err == nil {
				for logs.Receive() {
				}
				err = logs.Err()
			}
			ended["logs"] <- err
		}()
		upload := tandemv1connect.NewArtifactServiceClient(c, r.url()).UploadArtifact(t.Context())
		go func() {
			err := upload.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Header{Header: &tandemv1.UploadArtifactHeader{
				Sha256: strings.Repeat("a", 64), Size: 1 << 30,
			}}})
			for err == nil { // it never ends by itself
				<-time.After(20 * time.Millisecond)
				err = upload.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Chunk{Chunk: make([]byte, 1000)}})
			}
			_, err = upload.CloseAndReceive()
			ended["upload"] <- err
		}()
		return ended
	}
	ann, short := made("ann", 0), made("short", 2)
	revoked, over, mine := open(ann), open(short), open(made("bob", 0))
	if _, err := tokens.RevokeToken(t.Context(), connect.NewRequest(&tandemv1.RevokeTokenRequest{Id: "ann"})); err != nil {
		t.Fatal(err)
	}
	for want, streams := range map[string]map[string]chan error{"token ann was revoked": revoked, "token short ended at ": over} {
		for kind, ended := range streams {
			var err error
			select {
			case err = <-ended:
			case <-time.After(20 * time.Second):
				t.Fatalf("%s: it goes on for 20 s, want %q", kind, want)
			}
			if connect.CodeOf(err) != connect.CodeUnauthenticated || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", kind, err, want)
			}
		}
	}
	// Who comes again, as events --follow does each second, is told the same.
	for secret, want := range map[string]string{ann: "token ann was revoked: ask an admin", short: "token short ended at "} {
		again := r.client(secret)
		t.Cleanup(again.CloseIdleConnections)
		_, err := tandemv1connect.NewEventServiceClient(again, r.url()).ListEvents(t.Context(), connect.NewRequest(&tandemv1.ListEventsRequest{}))
		wantCode(t, err, connect.CodeUnauthenticated, want)
	}
	for kind, ended := range mine {
		select {
		case err := <-ended:
			t.Errorf("%s of another token ended: %v", kind, err)
		default:
		}
	}
}

// TestRevokedBeforeItsBodyEnds: a request is carried out only if its token is good when all of it has come, not when its headers came.
func TestRevokedBeforeItsBodyEnds(t *testing.T) {
	r := startOne(t)
	admin := r.admin(t)
	tokens := tandemv1connect.NewTokenServiceClient(admin, r.url())
	serveToy(t, r, admin, func(http.ResponseWriter, *http.Request) { t.Error("the replica was asked") })
	before := len(r.state.View().Jobs())
	spec, err := protojson.Marshal(&tandemv1.SubmitJobRequest{Spec: toySpec()})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/jobs", tandemv1connect.JobServiceSubmitJobProcedure, "/v2/models/toy/infer"} {
		name := "of" + strings.ToLower(strings.NewReplacer("/", "-", ".", "-").Replace(path))
		made, err := tokens.CreateToken(t.Context(), connect.NewRequest(&tandemv1.CreateTokenRequest{Name: name, Role: "user"}))
		if err != nil {
			t.Fatal(err)
		}
		c := r.client(made.Msg.GetSecret())
		t.Cleanup(c.CloseIdleConnections)
		body, rest := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url()+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		answer := make(chan string, 1)
		go func() {
			res, err := c.Do(req)
			if err != nil {
				answer <- err.Error()
				return
			}
			defer res.Body.Close()
			said, _ := io.ReadAll(res.Body)
			answer <- res.Status + " " + string(said)
		}()
		held := r.api.Held()
		if _, err := rest.Write(spec[:len(spec)-1]); err != nil {
			t.Fatal(err)
		}
		for r.api.Held() == held { // until it is being read
			<-time.After(time.Millisecond)
		}
		if _, err := tokens.RevokeToken(t.Context(), connect.NewRequest(&tandemv1.RevokeTokenRequest{Id: name})); err != nil {
			t.Fatal(err)
		}
		_, _ = rest.Write(spec[len(spec)-1:]) // it may be refused already
		_ = rest.Close()
		if said := <-answer; !strings.HasPrefix(said, "401 ") || !strings.Contains(said, "token "+name+" was revoked") {
			t.Errorf("%s: %s", path, said)
		}
	}
	if made := len(r.state.View().Jobs()) - before; made > 0 {
		t.Errorf("%d jobs were made", made)
	}
}

// TestRemovedCoordinatorLosesItsConnections: a connection of Raft that is open when a coordinator is removed is closed.
func TestRemovedCoordinatorLosesItsConnections(t *testing.T) {
	r := startOne(t)
	who := identity.Identity{Cluster: r.creds.Identity.Cluster, Role: identity.RoleCoordinator, Node: id.New("node")}
	creds, err := r.ca.Load().Issue(who, nil, r.creds.Get().GossipKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := &port{creds: identity.NewLive("", creds), bound: make(chan struct{})}
	p.bind(r.node.Peers)
	conn, err := p.Dial(raft.ServerAddress(r.Address()), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := r.node.Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_RemovePeer{RemovePeer: &tandemv1.RemovePeer{PeerId: who.Node}}}); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection of a removed coordinator: %v", err)
	}
	again, err := p.Dial(raft.ServerAddress(r.Address()), 5*time.Second)
	if err == nil {
		_ = again.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := again.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a new one: %v", err)
		}
		_ = again.Close()
	}
}

// TestAgentsHearOfRemovedNodes: each session says who was removed, at once and from its first message on.
func TestAgentsHearOfRemovedNodes(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "c"))
	cfg.NodeTimeout = time.Second
	r := start(t, cfg, newStore())
	bad, good := newAgent(t, r), newAgent(t, r)
	ctx, gone := context.WithCancel(t.Context())
	other := bad.node(1)
	other.Address = "127.0.0.1:8" // at the same one, the other takes its place
	bad.await(bad.session(ctx, other), 0)
	s := good.session(t.Context(), good.node(1))
	if !s.Receive() || s.Msg().GetRemoved() == nil || len(s.Msg().GetRemoved().GetNodeIds()) != 0 {
		t.Fatalf("first message: %v, %v", s.Msg(), s.Err())
	}
	gone()
	awaitNode(t, r, bad.id, tandemv1.NodeState_NODE_STATE_LOST)
	if _, err := tandemv1connect.NewNodeServiceClient(r.admin(t), r.url()).RemoveNode(t.Context(), connect.NewRequest(&tandemv1.RemoveNodeRequest{Id: bad.id})); err != nil {
		t.Fatal(err)
	}
	for len(s.Msg().GetRemoved().GetNodeIds()) == 0 {
		if !s.Receive() {
			t.Fatal(s.Err())
		}
	}
	if got := s.Msg().GetRemoved().GetNodeIds()[0]; got != bad.id {
		t.Errorf("removed: %s, want %s", got, bad.id)
	}
	late := newAgent(t, r)
	l := late.session(t.Context(), late.node(1))
	if !l.Receive() || len(l.Msg().GetRemoved().GetNodeIds()) != 1 {
		t.Errorf("first message of a later session: %v, %v", l.Msg(), l.Err())
	}
}

// TestAgentsHearOfViewers: each session says which tokens may read metrics, those of viewers alone, from its first message on and at
// each change.
func TestAgentsHearOfViewers(t *testing.T) {
	r := startOne(t)
	admin := r.admin(t)
	r.mint(t, admin, "u", "user", false)
	r.mint(t, admin, "j", "worker", true)
	a := newAgent(t, r)
	s := a.session(t.Context(), a.node(1))
	if !s.Receive() || s.Msg().GetViewers() == nil || len(s.Msg().GetViewers().GetTokens()) != 0 {
		t.Fatalf("first message: %v, %v", s.Msg(), s.Err())
	}
	next := func() []*tandemv1.ViewerToken {
		for s.Receive() {
			if v := s.Msg().GetViewers(); v != nil {
				return v.GetTokens()
			}
		}
		t.Fatal(s.Err())
		return nil
	}
	secret := r.mint(t, admin, "prometheus", "viewer", false)
	if got := next(); len(got) != 1 || got[0].GetSha256() != identity.HashToken(secret) || got[0].GetExpiresAt() == nil {
		t.Errorf("told of %v", got)
	}
	late := newAgent(t, r)
	l := late.session(t.Context(), late.node(1))
	if !l.Receive() || len(l.Msg().GetViewers().GetTokens()) != 1 {
		t.Errorf("first message of a later session: %v, %v", l.Msg(), l.Err())
	}
	if _, err := tandemv1connect.NewTokenServiceClient(admin, r.url()).RevokeToken(t.Context(), connect.NewRequest(&tandemv1.RevokeTokenRequest{Id: "prometheus"})); err != nil {
		t.Fatal(err)
	}
	if got := next(); len(got) != 0 {
		t.Errorf("told of %v after it was revoked", got)
	}
}
