package coordinator

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestTokensEnd: how long tokens are good: 90 days for a client and an hour for a node that joins, unless their maker says otherwise.
func TestTokensEnd(t *testing.T) {
	r := startOne(t)
	api := tandemv1connect.NewTokenServiceClient(r.admin(t), r.url())
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		req  *tandemv1.CreateTokenRequest
		want time.Duration // 0: it does not end
		says string        // why it is refused
	}{
		"default":      {&tandemv1.CreateTokenRequest{Role: "admin"}, 90 * day, ""},
		"ttl":          {&tandemv1.CreateTokenRequest{Role: "user", TtlSeconds: 7200}, 2 * time.Hour, ""},
		"no-expiry":    {&tandemv1.CreateTokenRequest{Role: "viewer", TtlSeconds: -1}, 0, ""},
		"join":         {&tandemv1.CreateTokenRequest{Role: "worker", Join: true}, time.Hour, ""},
		"join-ttl":     {&tandemv1.CreateTokenRequest{Role: "worker", Join: true, TtlSeconds: 60}, time.Minute, ""},
		"join-forever": {&tandemv1.CreateTokenRequest{Role: "worker", Join: true, TtlSeconds: -1}, 0, "a token that lets nodes join is good for 1 to 2592000 seconds (30 days)"},
		"join-month":   {&tandemv1.CreateTokenRequest{Role: "worker", Join: true, TtlSeconds: 2592000}, 30 * day, ""},
		"join-longer":  {&tandemv1.CreateTokenRequest{Role: "worker", Join: true, TtlSeconds: 2592001}, 0, "a token that lets nodes join is good for 1 to 2592000 seconds (30 days)"},
		"longest":      {&tandemv1.CreateTokenRequest{Role: "user", TtlSeconds: math.MaxInt32}, math.MaxInt32 * time.Second, ""},
		"longer":       {&tandemv1.CreateTokenRequest{Role: "user", TtlSeconds: math.MaxInt32 + 1}, 0, "a token of a client is good for 1 to 2147483647 seconds (24855 days)"},
		"negative":     {&tandemv1.CreateTokenRequest{Role: "user", TtlSeconds: -2}, 0, "a token of a client is good for 1 to"},
	} {
		tc.req.Name = name
		before := time.Now()
		res, err := api.CreateToken(t.Context(), connect.NewRequest(tc.req))
		if tc.says != "" {
			wantCode(t, err, connect.CodeInvalidArgument, "ttl_seconds: "+tc.says)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		end := res.Msg.GetToken().GetExpiresAt()
		if tc.want == 0 {
			if end != nil {
				t.Errorf("%s ends at %v", name, end.AsTime())
			}
			continue
		}
		if early, late := before.Add(tc.want), time.Now().Add(tc.want); end == nil || end.AsTime().Before(early) || end.AsTime().After(late) {
			t.Errorf("%s ends at %v, not between %v and %v", name, end.AsTime(), early, late)
		}
	}
}

// TestEndedTokenIsRefused: whoever asks with a token whose time is over is told so and what to do, on all paths; nobody else is.
func TestEndedTokenIsRefused(t *testing.T) {
	r := startOne(t)
	api := tandemv1connect.NewTokenServiceClient(r.admin(t), r.url())
	res, err := api.CreateToken(t.Context(), connect.NewRequest(&tandemv1.CreateTokenRequest{Name: "ann", Role: "user", TtlSeconds: 1}))
	if err != nil {
		t.Fatal(err)
	}
	c := r.client(res.Msg.GetSecret())
	t.Cleanup(c.CloseIdleConnections)
	jobs := tandemv1connect.NewJobServiceClient(c, r.url())
	ctx, cancel := context.WithDeadline(t.Context(), res.Msg.GetToken().GetExpiresAt().AsTime())
	defer cancel()
	<-ctx.Done()
	_, err = jobs.ListJobs(t.Context(), connect.NewRequest(&tandemv1.ListJobsRequest{}))
	const want = "token ann ended at "
	wantCode(t, err, connect.CodeUnauthenticated, want)
	if why := say.ReasonOf(err); why.GetCode() != tandemv1.Reason_CODE_CLIENT_TOKEN_ENDED || !strings.Contains(say.Clause(why, say.CLI), "tandem token create --role user") {
		t.Errorf("the reason is %v", why)
	}
	for _, path := range []string{"/v1/jobs", "/metrics", "/v2/models/none"} {
		if status, body := do(t, c, http.MethodGet, r.url()+path, ""); status != http.StatusUnauthorized || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	stranger := r.client("tdm_nobody-knows-this-one")
	t.Cleanup(stranger.CloseIdleConnections)
	if status, body := do(t, stranger, http.MethodGet, r.url()+"/v1/jobs", ""); status != http.StatusUnauthorized || !strings.Contains(body, "no valid token") {
		t.Errorf("a secret that nobody knows: %d %s", status, body)
	}
}
