package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// recorded is a cluster with this many entries in its audit log, of which an answer has few.
type recorded struct {
	tandemv1connect.ClusterServiceClient
	entries, most int
}

func (r recorded) ListAudit(_ context.Context, req *connect.Request[tandemv1.ListAuditRequest]) (*connect.Response[tandemv1.ListAuditResponse], error) {
	end, res := r.entries, &tandemv1.ListAuditResponse{Silent: []string{"node-2"}}
	if token := req.Msg.GetPageToken(); token != "" {
		end, _ = strconv.Atoi(token)
		res.Silent = []string{"node-1", "node-2"}
	}
	from := max(0, end-min(r.most, int(req.Msg.GetLimit())))
	for i := from; i < end; i++ {
		res.Entries = append(res.Entries, &tandemv1.AuditEntry{Subject: fmt.Sprint(i)})
	}
	if from > 0 {
		res.NextPageToken = fmt.Sprint(from)
	}
	return connect.NewResponse(res), nil
}

// TestAuditPages: the newest entries, oldest first, are put together from pages; a token says that there are older ones, and all coordinators
// that were silent are named once.
func TestAuditPages(t *testing.T) {
	c := &client.Client{Cluster: recorded{entries: 25, most: 10}}
	for limit, want := range map[int32]struct {
		first, n int
		next     string
		silent   []string
	}{
		3: {22, 3, "22", []string{"node-2"}}, 14: {11, 14, "11", []string{"node-1", "node-2"}}, 100: {0, 25, "", []string{"node-1", "node-2"}},
	} {
		res, err := listAudit(t.Context(), c, &tandemv1.ListAuditRequest{}, limit)
		if err != nil || len(res.GetEntries()) != want.n || res.GetNextPageToken() != want.next || !slices.Equal(res.GetSilent(), want.silent) {
			t.Errorf("limit %d: %v, %v", limit, res, err)
		}
		for i, e := range res.GetEntries() {
			if e.GetSubject() != fmt.Sprint(want.first+i) {
				t.Errorf("limit %d: place %d has %s", limit, i, e.GetSubject())
			}
		}
	}
}
