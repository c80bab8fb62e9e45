package coordinator

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestLevelOfACluster: a new cluster reaches the newest level by itself, and says version and level of everything in it.
func TestLevelOfACluster(t *testing.T) {
	r := startOne(t)
	a := newAgent(t, r)
	a.session(t.Context(), a.node(1))
	c := tandemv1connect.NewClusterServiceClient(r.admin(t), r.url())
	var m *tandemv1.GetClusterResponse
	for deadline := time.Now().Add(30 * time.Second); m.GetLevel() != schema.Known; {
		if time.Now().After(deadline) {
			t.Fatalf("the cluster is at level %d after 30 s, want %d: %v, %v", m.GetLevel(), schema.Known, m, r.state.View().Events(0))
		}
		res, err := c.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		m = res.Msg
		waiting, cancel := context.WithTimeout(t.Context(), time.Second)
		_ = r.state.Wait(waiting, m.GetAppliedIndex()) // or a second
		cancel()
	}
	if p := m.GetPeers()[0]; p.GetVersion() != r.cfg.Version || p.GetLevel() != schema.Known || m.GetKnownLevel() != schema.Known {
		t.Errorf("%v", m)
	}
	if len(m.GetWorkers()) != 1 || m.GetWorkers()[0].GetId() != a.node(1).GetId() {
		t.Errorf("workers %v", m.GetWorkers())
	}
}

// atLevel says another feature level than this program knows.
type atLevel struct {
	base  http.RoundTripper
	level int
}

func (a atLevel) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(identity.LevelHeader, strconv.Itoa(a.level))
	return a.base.RoundTrip(r)
}

// TestSkewOfMoreThanOneRelease is refused, with both levels, and so is a coordinator that knows less than the cluster has.
func TestSkewOfMoreThanOneRelease(t *testing.T) {
	r := startOne(t)
	for level, refused := range map[int]bool{
		schema.Known - 2: true, schema.Known - 1: false, schema.Known: false, schema.Known + 1: false, schema.Known + 2: true,
	} {
		c := &http.Client{Transport: atLevel{r.admin(t).Transport, level}}
		_, err := tandemv1connect.NewJobServiceClient(c, r.url()).ListJobs(t.Context(), connect.NewRequest(&tandemv1.ListJobsRequest{}))
		if !refused {
			if err != nil {
				t.Errorf("level %d: %v", level, err)
			}
			continue
		}
		wantCode(t, err, connect.CodeFailedPrecondition, "one release after the other")
	}
	_, err := tandemv1connect.NewClusterServiceClient(r.admin(t), r.url()).AddPeer(t.Context(), connect.NewRequest(&tandemv1.AddPeerRequest{
		Id: "node-0000000000000000000000000a", Address: "127.0.0.1:1", Learner: true,
	}))
	wantCode(t, err, connect.CodeFailedPrecondition, "start the version that the other coordinators have")
}

// TestProgramsAreOfCoordinators: what a coordinator says of its program is about itself, and fit to be shown; so is what an agent says.
func TestProgramsAreOfCoordinators(t *testing.T) {
	r := startOne(t)
	self := r.creds.Identity.Node
	peers := tandemv1connect.NewPeerServiceClient(r.coordinators, r.url())
	for name, tc := range map[string]struct {
		said *tandemv1.Program
		code connect.Code // 0: it passes
		want string
	}{
		"another":    {&tandemv1.Program{Id: "node-0000000000000000000000000a", Version: "v1", Level: schema.Known}, connect.CodePermissionDenied, "the certificate is that of " + self},
		"nobody":     {&tandemv1.Program{Version: "v1", Level: schema.Known}, connect.CodePermissionDenied, "the certificate is that of " + self},
		"characters": {&tandemv1.Program{Id: self, Version: "v\x001\x1b[2J", Level: schema.Known}, connect.CodeInvalidArgument, "version: "},
		"level":      {&tandemv1.Program{Id: self, Version: "v1", Level: math.MaxInt32}, connect.CodeInvalidArgument, "level: must be at most 10000"},
		"itself":     {&tandemv1.Program{Id: self, Version: "v1 (é)", Level: schema.Known}, 0, ""},
	} {
		res, err := peers.Propose(t.Context(), connect.NewRequest(&tandemv1.ProposeRequest{Command: &tandemv1.Command{
			Command: &tandemv1.Command_AnnounceProgram{AnnounceProgram: &tandemv1.AnnounceProgram{Program: tc.said}},
		}}))
		if tc.code != 0 {
			wantCode(t, err, tc.code, tc.want)
		} else if err != nil || res.Msg.GetResult().GetRefusal() != 0 {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
	// Who has a certificate and is not one of the coordinators yet has nothing to say.
	token := r.mint(t, r.admin(t), "join", "coordinator", true)
	joined, err := identity.Join(t.Context(), identity.JoinConfig{Coordinators: []string{r.Address()}, Token: token, Role: identity.RoleCoordinator})
	if err != nil {
		t.Fatal(err)
	}
	transport := identity.Transport(joined.Credentials.ClientConfig(identity.RoleName(identity.RoleCoordinator), "h2"))
	t.Cleanup(transport.CloseIdleConnections)
	_, err = tandemv1connect.NewPeerServiceClient(&http.Client{Transport: transport}, r.url()).Propose(t.Context(), connect.NewRequest(&tandemv1.ProposeRequest{
		Command: &tandemv1.Command{Command: &tandemv1.Command_AnnounceProgram{AnnounceProgram: &tandemv1.AnnounceProgram{
			Program: &tandemv1.Program{Id: joined.Credentials.Identity.Node, Version: "v1", Level: schema.Known},
		}}},
	}))
	wantCode(t, err, connect.CodeFailedPrecondition, "is not one of the coordinators")

	a := newAgent(t, r)
	node := a.node(1)
	node.AgentVersion = "v1\x1b[2J"
	session, err := a.api.Session(t.Context(), connect.NewRequest(&tandemv1.SessionRequest{Node: node}))
	if err == nil {
		session.Receive()
		err = session.Err()
	}
	wantCode(t, err, connect.CodeInvalidArgument, "node.agent_version")
}

// unknownField gives a message a field that no version knows.
func unknownField[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0xf0, 0x04, 1})
	return m
}

// TestUnknownFieldsAreRefused: by name, in messages of clients, agents and coordinators, in streams, in JSON and by REST. The
// coordinator lives on.
func TestUnknownFieldsAreRefused(t *testing.T) {
	r := startOne(t)
	admin := r.admin(t)
	a := newAgent(t, r)
	spec := toySpec()
	unknownField(spec.GetTraining())
	_, err := tandemv1connect.NewJobServiceClient(admin, r.url()).SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: spec}))
	wantCode(t, err, connect.CodeInvalidArgument, "unknown field 9999 of TrainingSpec in spec.training")
	_, err = tandemv1connect.NewJobServiceClient(admin, r.url()).SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: spec, DryRun: true}))
	wantCode(t, err, connect.CodeInvalidArgument, "unknown field 9999 of TrainingSpec")

	session, err := a.api.Session(t.Context(), connect.NewRequest(&tandemv1.SessionRequest{Node: unknownField(a.node(1))}))
	if err == nil {
		if session.Receive() {
			t.Error("a session was opened")
		}
		err = session.Err()
	}
	wantCode(t, err, connect.CodeInvalidArgument, "unknown field 9999 of Node in node")
	_, err = a.api.Report(t.Context(), connect.NewRequest(&tandemv1.ReportRequest{
		NodeId: a.node(1).GetId(), Incarnation: 99, Reports: []*tandemv1.EngineReport{unknownField(&tandemv1.EngineReport{})},
	}))
	wantCode(t, err, connect.CodeInvalidArgument, "unknown field 9999 of EngineReport in reports")

	peers := tandemv1connect.NewPeerServiceClient(r.coordinators, r.url())
	_, err = peers.Propose(t.Context(), connect.NewRequest(&tandemv1.ProposeRequest{}))
	wantCode(t, err, connect.CodeInvalidArgument, "a command of no kind")
	_, err = peers.Propose(t.Context(), connect.NewRequest(&tandemv1.ProposeRequest{Command: unknownField(&tandemv1.Command{})}))
	wantCode(t, err, connect.CodeInvalidArgument, "unknown field 9999 of Command in command")

	upload := tandemv1connect.NewArtifactServiceClient(admin, r.url()).UploadArtifact(t.Context())
	_ = upload.Send(unknownField(&tandemv1.UploadArtifactRequest{}))
	_, err = upload.CloseAndReceive()
	wantCode(t, err, connect.CodeInvalidArgument, "unknown field 9999 of UploadArtifactRequest")

	for _, tc := range []struct{ method, path, body, want string }{
		{"POST", "/v1/jobs", `{"spec":{"nme":"toy"}}`, `unknown field \"nme\"`},
		{"POST", "/tandem.v1.JobService/SubmitJob", `{"spec":{"nme":"toy"}}`, `unknown field \"nme\"`},
		{"GET", "/v1/jobs?nme=toy", "", "unknown parameter"},
		{"POST", "/v1/jobs/none/intent", `{"intent":77}`, "unknown value 77 of JobIntent"},
	} {
		if status, body := do(t, admin, tc.method, r.url()+tc.path, tc.body); status != 400 || !strings.Contains(body, tc.want) {
			t.Errorf("%s %s: %d %s, want 400 with %s", tc.method, tc.path, status, body, tc.want)
		}
	}
	if got, _ := do(t, admin, "GET", r.url()+"/v1/jobs", ""); got != 200 {
		t.Errorf("afterwards: %d", got)
	}
}
