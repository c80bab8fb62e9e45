package coordinator

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

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
		"first   ClusterService/JoinCluster   ok",
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
