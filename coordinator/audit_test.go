package coordinator

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestAudit: who changed something, who was denied something and who read a log is written down at the coordinator that was asked; a
// call that a follower passes on bears the first caller's name at the leader too.
func TestAudit(t *testing.T) {
	store := newStore()
	first := start(t, testConfig(filepath.Join(t.TempDir(), "a")), store)
	admin := first.admin(t)
	cfg := testConfig(filepath.Join(t.TempDir(), "b"))
	if err := Join(t.Context(), cfg, first.mint(t, admin, "join", "coordinator", true), []string{first.Address()}); err != nil {
		t.Fatal(err)
	}
	second := start(t, cfg, store)
	ann, atSecond := first.client(first.mint(t, admin, "ann", "viewer", false)), second.client(first.AdminToken())
	nobody := second.client("tdm_wrong")
	for _, c := range []interface{ CloseIdleConnections() }{ann, atSecond, nobody} {
		t.Cleanup(c.CloseIdleConnections)
	}
	do(t, ann, "GET", first.url()+"/v1/jobs", "") // not written down: it passed and changes nothing
	do(t, ann, "POST", first.url()+"/v1/jobs", "{}")
	do(t, ann, "GET", first.url()+"/v1/tokens", "")
	do(t, admin, "POST", first.url()+"/v1/jobs/nothing/intent", `{"intent":"JOB_INTENT_PAUSE","requestId":"r1"}`)
	do(t, nobody, "GET", second.url()+"/metrics", "")
	for range 9 {
		do(t, nobody, "POST", second.url()+"/v1/some/"+strings.Repeat("x", 50), "")
	}
	logs, err := tandemv1connect.NewJobServiceClient(ann, first.url()).StreamLogs(t.Context(), connect.NewRequest(&tandemv1.StreamLogsRequest{Id: "nothing"}))
	if err != nil {
		t.Fatal(err)
	}
	for logs.Receive() {
	}
	do(t, atSecond, "DELETE", second.url()+"/v1/cluster/peers/node-x", "")

	clusters := tandemv1connect.NewClusterServiceClient(atSecond, second.url())
	var res *connect.Response[tandemv1.ListAuditResponse]
	count := func() (total int64) { // of the unknown path, whose repetitions are written after their second
		for _, e := range res.Msg.GetEntries() {
			if e.GetMethod() == "unknown path" {
				total += max(1, e.GetCount())
			}
		}
		return total
	}
	for res == nil || count() < 9 {
		if res, err = clusters.ListAudit(t.Context(), connect.NewRequest(&tandemv1.ListAuditRequest{})); err != nil {
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
	}
	if count() != 9 || len(res.Msg.GetSilent())+len(res.Msg.GetBroken()) != 0 {
		t.Errorf("%d calls of an unknown path, %v, %v", count(), res.Msg.GetSilent(), res.Msg.GetBroken())
	}
	names := map[string]string{first.creds.Identity.Node: "first", second.creds.Identity.Node: "second"}
	var got []string
	for _, e := range res.Msg.GetEntries() {
		if e.GetAddress() != "127.0.0.1" || e.GetActor() == "ann" && !strings.HasPrefix(e.GetTokenId(), "token-") {
			t.Errorf("entry %v", e)
		}
		got = append(got, fmt.Sprint(names[e.GetCoordinator()], " ", e.GetActor(), " ", e.GetRole(), " ", e.GetMethod(), " ", e.GetSubject(), " ", e.GetRequestId(), " ", e.GetOutcome()))
	}
	for _, want := range []string{
		"first admin admin TokenService/CreateToken ann  ok",
		"first join coordinator ClusterService/JoinCluster " + second.creds.Identity.Node + "  ok",
		"first ann viewer JobService/SubmitJob   permission_denied",
		"first ann viewer TokenService/ListTokens   permission_denied",
		"first admin admin JobService/SetJobIntent nothing r1 not_found",
		"first ann viewer JobService/StreamLogs nothing  not_found",
		"second   /metrics   unauthenticated",
		"second   unknown path   unauthenticated",
		"second admin admin ClusterService/RemovePeer node-x  not_found",
		"first admin coordinator ClusterService/RemovePeer node-x  not_found",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("nothing says %q in\n%s", want, strings.Join(got, "\n"))
		}
	}
	for _, line := range got {
		if strings.Contains(line, "ListJobs") || strings.Contains(line, "ReadIndex") {
			t.Errorf("written down: %s", line)
		}
	}
	// A name in the header counts for coordinators only.
	viewer := tandemv1connect.NewTokenServiceClient(ann, first.url())
	req := connect.NewRequest(&tandemv1.RevokeTokenRequest{Id: "join"})
	req.Header().Set("Tandem-Actor", "admin")
	_, err = viewer.RevokeToken(t.Context(), req)
	wantCode(t, err, connect.CodePermissionDenied, "viewer")
	res, err = clusters.ListAudit(t.Context(), connect.NewRequest(&tandemv1.ListAuditRequest{Actor: "ann", Method: "RevokeToken"}))
	if err != nil || len(res.Msg.GetEntries()) != 1 {
		t.Errorf("%v, %v", res.Msg, err)
	}
}

// TestAuditNamesTheDenied: a token that has ended, was revoked or is used up is named beside the call that it was denied for.
func TestAuditNamesTheDenied(t *testing.T) {
	r := startOne(t)
	admin := r.admin(t)
	tokens := tandemv1connect.NewTokenServiceClient(admin, r.url())
	made := func(req *tandemv1.CreateTokenRequest) *tandemv1.CreateTokenResponse {
		t.Helper()
		res, err := tokens.CreateToken(t.Context(), connect.NewRequest(req))
		if err != nil {
			t.Fatal(err)
		}
		return res.Msg
	}
	short, bob := made(&tandemv1.CreateTokenRequest{Name: "short", Role: "viewer", TtlSeconds: 1}), made(&tandemv1.CreateTokenRequest{Name: "bob", Role: "user"})
	once, gone := made(&tandemv1.CreateTokenRequest{Name: "once", Role: "worker", Join: true}), made(&tandemv1.CreateTokenRequest{Name: "gone", Role: "worker", Join: true})
	look := func(m *tandemv1.CreateTokenResponse, status int) {
		t.Helper()
		c := r.client(m.GetSecret())
		t.Cleanup(c.CloseIdleConnections)
		if got, body := do(t, c, "GET", r.url()+"/v1/jobs", ""); got != status {
			t.Errorf("%s: %d %s, want %d", m.GetToken().GetName(), got, body, status)
		}
	}
	join := func(m *tandemv1.CreateTokenResponse) error {
		_, err := identity.Join(t.Context(), identity.JoinConfig{Coordinators: []string{r.Address()}, Token: m.GetSecret(), Role: identity.RoleWorker})
		return err
	}
	look(bob, 200)
	look(gone, 401) // it is for nodes
	if err := join(once); err != nil {
		t.Fatal(err)
	}
	wantCode(t, join(once), connect.CodePermissionDenied, "was used for 1 node")
	for _, name := range []string{"bob", "gone"} {
		if _, err := tokens.RevokeToken(t.Context(), connect.NewRequest(&tandemv1.RevokeTokenRequest{Id: name})); err != nil {
			t.Fatal(err)
		}
	}
	look(bob, 401)
	wantCode(t, join(gone), connect.CodeUnauthenticated, "this join token is not valid")
	<-time.After(time.Until(short.GetToken().GetExpiresAt().AsTime()))
	look(short, 401)

	for _, tc := range []struct {
		of   *tandemv1.CreateTokenResponse
		want []string
	}{
		{short, []string{"viewer JobService/ListJobs unauthenticated"}},
		{bob, []string{"user JobService/ListJobs unauthenticated"}},
		{once, []string{"worker ClusterService/JoinCluster permission_denied"}},
		{gone, []string{"worker JobService/ListJobs unauthenticated", "worker ClusterService/JoinCluster unauthenticated"}},
	} {
		name := tc.of.GetToken().GetName()
		res, err := tandemv1connect.NewClusterServiceClient(admin, r.url()).ListAudit(t.Context(),
			connect.NewRequest(&tandemv1.ListAuditRequest{Actor: name, Outcome: "denied"}))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range res.Msg.GetEntries() {
			if e.GetTokenId() != tc.of.GetToken().GetId() {
				t.Errorf("entry of %s: %v", name, e)
			}
			got = append(got, e.GetRole()+" "+e.GetMethod()+" "+e.GetOutcome())
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
