package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// keeping is a cluster with a retention.
type keeping struct {
	tandemv1connect.ClusterServiceClient
	policy *tandemv1.RetentionPolicy
	asked  []*tandemv1.SetRetentionRequest
}

func (k *keeping) GetCluster(context.Context, *connect.Request[tandemv1.GetClusterRequest]) (*connect.Response[tandemv1.GetClusterResponse], error) {
	return connect.NewResponse(&tandemv1.GetClusterResponse{Retention: k.policy}), nil
}

func (k *keeping) SetRetention(_ context.Context, r *connect.Request[tandemv1.SetRetentionRequest]) (*connect.Response[tandemv1.SetRetentionResponse], error) {
	k.asked, k.policy = append(k.asked, r.Msg), r.Msg.GetRetention()
	return connect.NewResponse(&tandemv1.SetRetentionResponse{Retention: k.policy}), nil
}

// TestRetention: what is not named stays as it is, off keeps all, deleting jobs is confirmed first, and an invalid duration changes nothing.
func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	for _, tc := range []struct {
		options retentionOptions
		yes     bool
		want    *tandemv1.RetentionPolicy // nil: nothing is changed
		err     string
	}{
		{retentionOptions{}, false, nil, ""},
		{retentionOptions{jobs: "90d"}, true, &tandemv1.RetentionPolicy{Jobs: durationpb.New(90 * day), Events: durationpb.New(day)}, ""},
		{retentionOptions{jobs: "90d"}, false, nil, "-y"},
		{retentionOptions{events: "2w"}, false, &tandemv1.RetentionPolicy{Jobs: durationpb.New(7 * day), Events: durationpb.New(14 * day)}, ""},
		{retentionOptions{jobs: "off", events: "off"}, false, &tandemv1.RetentionPolicy{}, ""},
		{retentionOptions{logs: "30d"}, true, &tandemv1.RetentionPolicy{Jobs: durationpb.New(7 * day), Events: durationpb.New(day), Logs: durationpb.New(30 * day)}, ""},
		{retentionOptions{logs: "30d"}, false, nil, "the logs of jobs 30d after their end"},
		{retentionOptions{events: "soon"}, true, nil, "--events"},
	} {
		var out strings.Builder
		k := &keeping{policy: &tandemv1.RetentionPolicy{Jobs: durationpb.New(7 * day), Events: durationpb.New(day)}}
		a := &app{out: &out, err: &out, output: "table", yes: tc.yes, requestID: "r"}
		err := a.retention(t.Context(), k, tc.options)
		switch {
		case (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err):
			t.Errorf("%+v: %v", tc.options, err)
		case tc.want == nil && len(k.asked) > 0:
			t.Errorf("%+v: asked for %v", tc.options, k.asked)
		case tc.want != nil && (len(k.asked) != 1 || !proto.Equal(k.asked[0].GetRetention(), tc.want) || k.asked[0].GetRequestId() != "r"):
			t.Errorf("%+v: asked for %v", tc.options, k.asked)
		case err == nil && !strings.Contains(out.String(), "Jobs:"):
			t.Errorf("%+v: %s", tc.options, out.String())
		}
	}
}
