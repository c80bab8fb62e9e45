package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) auditCommand() *cobra.Command {
	req, since, limit := &tandemv1.ListAuditRequest{}, "", int32(0)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who did what, or was denied what, oldest first",
		Long: `Show who did what, or was denied what, oldest first: changes, denied calls, reads of logs and files, as each coordinator has
written them down. It asks all coordinators; older entries than they keep are in the store under audit/. Without --limit these are the
newest 1,000; next_page_token of -o json is not empty where there are older ones.`,
		Example: `  tandem audit --since 24h --outcome denied
  tandem audit --token ann --method SubmitJob -o json`,
		Args: want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			from, err := sinceTime(since, time.Now())
			if err != nil {
				return &usageError{fmt.Errorf("--since: %w", err)}
			}
			req.Since = from
			res, err := listAudit(ctx, c, req, limit)
			if err != nil {
				return err
			}
			if len(res.GetSilent()) > 0 {
				a.say("These coordinators do not answer; what they wrote down is not shown: %s", strings.Join(res.GetSilent(), ", "))
			}
			for _, place := range res.GetBroken() {
				a.say("The audit log was changed or cut here: %s", place)
			}
			err = a.show(res, auditGrid(res.GetEntries()))
			if err == nil && res.GetNextPageToken() != "" && a.people() {
				a.say("There are older ones: these are the newest %d. See more with --limit, or others with --since, --token, --method or --outcome.", len(res.GetEntries()))
			}
			return err
		}),
	}
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "only from then on: a duration such as 24h, or a time such as 2026-11-30T10:00:00Z")
	f.StringVar(&req.Actor, "token", "", "only of the token, or the node, with this name or id")
	f.StringVar(&req.Method, "method", "", "only of methods with this in their name, such as SubmitJob")
	f.StringVar(&req.Outcome, "outcome", "", `only with this outcome: "ok", "denied", or a code such as not_found`)
	quantity.Flag(f, &limit, "limit", pageRows, 1, 0, "maximum number of rows, the newest")
	return cmd
}

// listAudit asks page by page for the newest entries, at most limit of them.
func listAudit(ctx context.Context, c *client.Client, req *tandemv1.ListAuditRequest, limit int32) (*tandemv1.ListAuditResponse, error) {
	whole := &tandemv1.ListAuditResponse{}
	all, next, err := pages(limit, func(limit int32, token string) ([]*tandemv1.AuditEntry, string, error) {
		req.Limit, req.PageToken = limit, token
		res, err := c.Cluster.ListAudit(ctx, connect.NewRequest(req))
		if err != nil {
			return nil, "", err
		}
		whole.Silent, whole.Broken = union(whole.GetSilent(), res.Msg.GetSilent()), union(whole.GetBroken(), res.Msg.GetBroken())
		return res.Msg.GetEntries(), res.Msg.GetNextPageToken(), nil
	})
	whole.Entries, whole.NextPageToken = oldestFirst(all), next
	return whole, err
}

// union is what one of two lists has, in order.
func union(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

// sinceTime reads a time, or how long ago it was.
func sinceTime(text string, now time.Time) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return timestamppb.New(now.Add(-d)), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a duration such as 24h nor a time such as 2026-11-30T10:00:00Z", text)
	}
	return timestamppb.New(t), nil
}

func auditGrid(entries []*tandemv1.AuditEntry) grid {
	g := grid{header: []string{"TIME", "WHO", "ROLE", "FROM", "METHOD", "ABOUT", "OUTCOME", "TIMES", "TOKEN", "REQUEST", "COORDINATOR"}, wide: 3, empty: "No entries."}
	for _, e := range entries {
		g.rows = append(g.rows, []string{
			e.GetTime().AsTime().Local().Format("01-02 15:04:05"), cmp.Or(e.GetActor(), "-"), cmp.Or(e.GetRole(), "-"), e.GetAddress(), e.GetMethod(),
			cmp.Or(e.GetSubject(), "-"), e.GetOutcome(), fmt.Sprint(max(1, e.GetCount())), cmp.Or(e.GetTokenId(), "-"), cmp.Or(e.GetRequestId(), "-"), e.GetCoordinator(),
		})
	}
	return g
}
