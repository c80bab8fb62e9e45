package coordinator

import (
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestSetRetention: admins alone say for how long the cluster keeps what is over, what cannot be meant is refused, and what was said last holds
// on every coordinator and when the leader has changed.
func TestSetRetention(t *testing.T) {
	first, others := startThree(t)
	const path = "/v1/cluster/retention"
	admin := first.admin(t)
	for role, status := range map[string]int{"viewer": 403, "user": 403} {
		c := first.client(first.mint(t, admin, role, role, false))
		t.Cleanup(c.CloseIdleConnections)
		if got, body := do(t, c, "POST", first.url()+path, `{"retention": {"jobs": "2160h"}}`); got != status {
			t.Errorf("a %s: %d %s", role, got, body)
		}
	}
	clusters := tandemv1connect.NewClusterServiceClient(admin, first.url())
	set := func(p *tandemv1.RetentionPolicy) error {
		res, err := clusters.SetRetention(t.Context(), connect.NewRequest(&tandemv1.SetRetentionRequest{Retention: p}))
		if err == nil && !proto.Equal(res.Msg.GetRetention(), p) {
			t.Errorf("set %v, is %v", p, res.Msg.GetRetention())
		}
		return err
	}
	for name, bad := range map[string]*tandemv1.RetentionPolicy{
		"retention.jobs":   {Jobs: durationpb.New(time.Hour - 1)},
		"retention.events": {Jobs: durationpb.New(time.Hour), Events: durationpb.New(-48 * time.Hour)},
		"retention.logs":   {Logs: durationpb.New(time.Minute)},
		"1h at least":      {Events: &durationpb.Duration{Seconds: 7200, Nanos: -1}}, // no duration at all
	} {
		wantCode(t, set(bad), connect.CodeInvalidArgument, name)
	}
	want := &tandemv1.RetentionPolicy{Jobs: durationpb.New(90 * 24 * time.Hour), Events: durationpb.New(time.Hour), Logs: durationpb.New(30 * 24 * time.Hour)}
	if err := set(want); err != nil {
		t.Fatal(err)
	}
	first.stop() // it leads: it was the only one
	c := others[0].client(first.AdminToken())
	t.Cleanup(c.CloseIdleConnections)
	after := tandemv1connect.NewClusterServiceClient(c, others[0].url())
	var got *tandemv1.GetClusterResponse
	for wait := time.Now().Add(30 * time.Second); got == nil; {
		res, err := after.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{}))
		switch {
		case err == nil:
			got = res.Msg
		case connect.CodeOf(err) != connect.CodeUnavailable || time.Now().After(wait):
			t.Fatal(err)
		}
	}
	if !proto.Equal(got.GetRetention(), want) {
		t.Errorf("after the change of the leader: %v", got.GetRetention())
	}
	clusters = after
	if err := set(nil); err != nil { // all is kept again
		t.Fatal(err)
	}
}
