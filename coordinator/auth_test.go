package coordinator

import (
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/raft"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/pki"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// do sends a plain request and returns status and body.
func do(t *testing.T, c *http.Client, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestWhoMayDoWhat(t *testing.T) {
	r := startOne(t)
	admin := r.admin(t)
	worker := newAgent(t, r)
	who := map[string]*http.Client{
		"nobody": r.client(""), "wrong": r.client("tdm_wrong"), "admin": admin, "worker": worker.http, "coordinator": r.coordinators,
		"user": r.client(r.mint(t, admin, "u", "user", false)), "viewer": r.client(r.mint(t, admin, "v", "viewer", false)),
		"join": r.client(r.mint(t, admin, "j", "worker", true)),
	}
	order := []string{"nobody", "wrong", "join", "viewer", "user", "admin", "worker", "coordinator"}
	for _, tc := range []struct {
		method, path string
		want         []int // in that order
	}{
		{"GET", "/livez", []int{200, 200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/readyz", []int{200, 200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/metrics", []int{401, 401, 401, 200, 200, 200, 200, 200}},
		{"GET", "/v2", []int{401, 401, 401, 200, 200, 200, 403, 403}},
		{"GET", "/v2/health/live", []int{200, 200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/v2/health/ready", []int{200, 200, 200, 200, 200, 200, 200, 200}},
		{"POST", "/v2/models/x/infer", []int{401, 401, 401, 404, 404, 404, 403, 403}},
		{"GET", "/v1/jobs", []int{401, 401, 401, 200, 200, 200, 403, 403}},
		{"GET", "/v1/cluster", []int{401, 401, 401, 200, 200, 200, 403, 403}},
		{"POST", "/v1/jobs", []int{401, 401, 401, 403, 400, 400, 403, 403}},
		{"GET", "/v1/tokens", []int{401, 401, 401, 403, 403, 200, 403, 403}},
		{"DELETE", "/v1/nodes/x", []int{401, 401, 401, 403, 403, 404, 403, 403}},
		{"DELETE", "/v1/cluster/peers/x", []int{401, 401, 401, 403, 403, 404, 403, 404}},
		{"POST", "/tandem.v1.AgentService/ReportProgress", []int{401, 401, 401, 403, 403, 403, 200, 403}},
		{"POST", "/tandem.v1.PeerService/ReadIndex", []int{401, 401, 401, 403, 403, 403, 403, 200}},
	} {
		send := ""
		if tc.method == "POST" {
			send = "{}"
		}
		for i, name := range order {
			if got, body := do(t, who[name], tc.method, r.url()+tc.path, send); got != tc.want[i] {
				t.Errorf("%s %s as %s: %d %s, want %d", tc.method, tc.path, name, got, body, tc.want[i])
			}
		}
	}
	for _, c := range who {
		c.CloseIdleConnections()
	}
}

func TestRevokedAndEndedTokens(t *testing.T) {
	r := startOne(t)
	admin := r.admin(t)
	tokens := tandemv1connect.NewTokenServiceClient(admin, r.url())
	secret := r.mint(t, admin, "ann", "user", false)
	ann := r.client(secret)
	t.Cleanup(ann.CloseIdleConnections)
	if got, _ := do(t, ann, "GET", r.url()+"/v1/jobs", ""); got != 200 {
		t.Fatalf("new token: %d", got)
	}
	list, err := tokens.ListTokens(t.Context(), connect.NewRequest(&tandemv1.ListTokensRequest{}))
	if err != nil || len(list.Msg.GetTokens()) != 2 || list.Msg.GetTokens()[0].GetSha256() != "" {
		t.Errorf("tokens %v, %v", list, err)
	}
	if _, err := tokens.RevokeToken(t.Context(), connect.NewRequest(&tandemv1.RevokeTokenRequest{Id: "ann"})); err != nil {
		t.Fatal(err)
	}
	if got, _ := do(t, ann, "GET", r.url()+"/v1/jobs", ""); got != 401 {
		t.Errorf("revoked token: %d", got)
	}
	_, err = tokens.RevokeToken(t.Context(), connect.NewRequest(&tandemv1.RevokeTokenRequest{Id: "admin"}))
	wantCode(t, err, connect.CodeFailedPrecondition, "last one")
	_, err = tokens.CreateToken(t.Context(), connect.NewRequest(&tandemv1.CreateTokenRequest{Name: "x", Role: "root"}))
	wantCode(t, err, connect.CodeInvalidArgument, `must be "admin", "user" or "viewer"`)
}

func TestJoinIsRefused(t *testing.T) {
	r := startOne(t)
	admin := r.admin(t)
	good := r.mint(t, admin, "w", "worker", true)
	parsed, err := identity.ParseJoinToken(good)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := pki.New("cluster-x", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	short, err := tandemv1connect.NewTokenServiceClient(admin, r.url()).CreateToken(t.Context(), connect.NewRequest(&tandemv1.CreateTokenRequest{Name: "short", Role: "worker", Join: true, TtlSeconds: 1}))
	if err != nil {
		t.Fatal(err)
	}
	ended := time.After(time.Until(short.Msg.GetToken().GetExpiresAt().AsTime()))
	join := func(token string, change func(*identity.JoinConfig)) error {
		cfg := identity.JoinConfig{Coordinators: []string{r.Address()}, Token: token, Role: identity.RoleWorker}
		if change != nil {
			change(&cfg)
		}
		_, err := identity.Join(t.Context(), cfg)
		return err
	}
	if err := join(good, nil); err != nil {
		t.Fatal(err)
	}
	otherCA := parsed
	otherCA.CAHash = identity.CAHash(stranger.Certificate.Raw)
	made := identity.NewJoinToken(identity.RoleWorker, r.creds.Get().CA)
	asCoordinator := parsed
	asCoordinator.Role = identity.RoleCoordinator
	<-ended
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"no token":     {join("tdm_x", nil), "not a join token"},
		"another CA":   {join(otherCA.String(), nil), "not of the cluster"},
		"made up":      {join(made.String(), nil), "not valid"},
		"ended":        {join(short.Msg.GetSecret(), nil), "the time of join token short is over"},
		"other role":   {join(asCoordinator.String(), func(c *identity.JoinConfig) { c.Role = identity.RoleCoordinator }), "not valid"},
		"wrong role":   {join(good, func(c *identity.JoinConfig) { c.Role = identity.RoleCoordinator }), "is for a worker"},
		"stolen name":  {join(good, func(c *identity.JoinConfig) { c.Hosts = []string{identity.RoleName(identity.RoleCoordinator)} }), "belongs to the cluster"},
		"bad host":     {join(good, func(c *identity.JoinConfig) { c.Hosts = []string{"a b"} }), "neither an address"},
		"nobody there": {join(good, func(c *identity.JoinConfig) { c.Coordinators = []string{"127.0.0.1:1"} }), "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) {
				t.Errorf("got %v, want %q", tc.err, tc.want)
			}
		})
	}
}

// TestJoinTokenIsGoodForOneNode: of nodes that come at the same time with a token one is let in, by the count in the log; and who
// comes back with the same key, since the answer was lost, is the node that it was.
func TestJoinTokenIsGoodForOneNode(t *testing.T) {
	r := startOne(t)
	res, err := tandemv1connect.NewTokenServiceClient(r.admin(t), r.url()).CreateToken(t.Context(), connect.NewRequest(&tandemv1.CreateTokenRequest{Name: "w", Role: "worker", Join: true}))
	if err != nil || res.Msg.GetToken().GetUses() != 1 {
		t.Fatalf("%v, %v", res, err)
	}
	cfg := identity.JoinConfig{Coordinators: []string{r.Address()}, Token: res.Msg.GetSecret(), Role: identity.RoleWorker}
	const nodes = 8
	joined, failed := make([]*identity.Joined, nodes), make([]error, nodes)
	keys := make([]*ecdsa.PrivateKey, nodes)
	var wg sync.WaitGroup
	for i := range nodes {
		if keys[i], err = identity.NewKey(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			own := cfg
			own.Key = keys[i]
			joined[i], failed[i] = identity.Join(t.Context(), own)
		})
	}
	wg.Wait()
	in := slices.IndexFunc(joined, func(j *identity.Joined) bool { return j != nil })
	for i := range nodes {
		switch {
		case i == in:
		case failed[i] == nil:
			t.Errorf("nodes %d and %d joined with a token for one", in, i)
		default:
			wantCode(t, failed[i], connect.CodePermissionDenied, "was used for 1 node")
		}
	}
	if in < 0 {
		t.Fatalf("nobody joined: %v", failed)
	}
	cfg.Key = keys[in]
	again, err := identity.Join(t.Context(), cfg)
	if err != nil || again.Credentials.Identity != joined[in].Credentials.Identity {
		t.Errorf("again with the same key: %v, %v", again, err)
	}
	// Its name can be given again at once.
	r.mint(t, r.admin(t), "w", "worker", true)
}

// TestRaftPort: only coordinators get through to Raft.
func TestRaftPort(t *testing.T) {
	r := startOne(t)
	worker := newAgent(t, r)
	refused := func(cfg *tls.Config) bool {
		conn, err := tls.Dial("tcp", r.Address(), cfg)
		if err != nil {
			return true
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = conn.Read(make([]byte, 1))
		return errors.Is(err, io.EOF)
	}
	if !refused(worker.creds.ClientConfig(identity.RoleName(identity.RoleCoordinator), raftALPN)) {
		t.Error("a worker was let in")
	}
	if !refused(&tls.Config{RootCAs: r.creds.Get().Pool(), ServerName: "localhost", NextProtos: []string{raftALPN}}) {
		t.Error("a client without a certificate was let in")
	}
	other, err := r.ca.Load().Issue(identity.Identity{Cluster: r.creds.Identity.Cluster, Role: identity.RoleCoordinator, Node: id.New("node")}, nil, r.creds.Get().GossipKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := &port{creds: identity.NewLive("", other), bound: make(chan struct{})}
	p.bind(r.node.Peers)
	conn, err := p.Dial(raft.ServerAddress(r.Address()), 5*time.Second)
	if err != nil {
		t.Fatalf("a coordinator was refused: %v", err)
	}
	_ = conn.Close()
}

func TestREST(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	spec := `{"spec":{"name":"toy","dataset":"toy","model":{"mlp":{"hidden":[4]}},"training":{"batch":8,"epochs":1}},"requestId":"r1"}`
	status, body := do(t, c, "POST", r.url()+"/v1/jobs", spec)
	var res struct {
		Job struct{ ID, State string }
	}
	if err := json.Unmarshal([]byte(body), &res); err != nil || status != 200 || res.Job.State != "pending" {
		t.Fatalf("submit: %d %s", status, body)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/jobs/" + res.Job.ID, "", 200, `"trials"`},
		{"GET", "/v1/jobs/toy", "", 200, res.Job.ID},
		{"GET", "/v1/jobs?states=JOB_STATE_COMPLETED", "", 200, `{"jobs":[]`},
		{"GET", "/v1/jobs?states=pending&states=completed", "", 200, res.Job.ID},
		{"GET", "/v1/jobs?states=1", "", 200, `"modified_index":`},
		{"POST", "/tandem.v1.JobService/GetJob", `{"id":"toy"}`, 200, `"state":"JOB_STATE_PENDING"`}, // generated clients read no other JSON
		{"POST", "/tandem.v1.JobService/GetJob", `{"id":"toy"}`, 200, `"createdAt":`},
		{"GET", "/v1/jobs?states=pendng", "", 400, "pending, running, paused, completed"},
		{"GET", "/v1/jobs/nothing", "", 404, "not found"},
		{"GET", "/v1/datasets/toy@1", "", 200, `"manifest_json"`},
		{"GET", "/v1/datasets", "", 200, `"toy"`},
		{"POST", "/v1/jobs", `{"spec":{"name":"toy","dataset":"toy","training":{"batch":81,"epochs":1}}}`, 400, "training.batch: 81 is more than the 80 rows"},
		{"POST", "/v1/jobs", `{"spec":{"nme":"toy"}}`, 400, "nme"},
		{"POST", "/v1/jobs", `{`, 400, ""},
		{"POST", "/v1/jobs", strings.Repeat(" ", 9<<20), 413, "the limit is 1114112"},
		{"POST", "/v1/jobs/" + res.Job.ID + "/intent", `{"intent":"JOB_INTENT_PAUSE"}`, 200, `"state":"paused"`},
		{"POST", "/v1/jobs/" + res.Job.ID + "/intent", `{"intent":"cancel"}`, 200, `"state":"cancelled"`},
		{"POST", "/v1/jobs/" + res.Job.ID + "/intent", `{"intent":"JOB_INTENT_RUN"}`, 400, "has ended"},
		{"GET", "/v1/events?limit=1", "", 200, "message"},
		{"GET", "/v1/nodes", "", 200, `{"nodes":[]}`},
		{"GET", "/v1/pools", "", 200, `{"pools":[]}`},
		{"GET", "/v1/models/none", "", 404, "not found"},
		{"POST", "/v1/deployments", `{"model":"none","replicas":1}`, 404, `model \"none\" was not found`},
		{"GET", "/v1/nothing", "", 404, ""},
		{"GET", "/v1/jobs/" + res.Job.ID + "/watch", "", 404, ""}, // streams are not REST
		{"GET", "/v1/jobs/" + res.Job.ID + "/logs", "", 404, ""},
		{"GET", "/metrics", "", 200, `tandem_jobs{state="cancelled"} 1`},
		{"GET", "/metrics", "", 200, "tandem_raft_is_leader 1"},
		{"GET", "/v2/health/live", "", 200, ""},
		{"GET", "/v2/health/ready", "", 200, ""},
		{"POST", "/v2/models/none/infer", "{}", 404, "not served"},
	} {
		if status, body := do(t, c, tc.method, r.url()+tc.path, tc.body); status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s %s: %d %s, want %d with %s", tc.method, tc.path, status, body, tc.status, tc.want)
		}
	}
}
