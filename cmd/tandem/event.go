package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// followEvery is the time between two questions of what has happened.
const followEvery = time.Second

func (a *app) eventsCommand() *cobra.Command {
	req := &tandemv1.ListEventsRequest{}
	var types []string
	var since string
	var follow bool
	var limit int32
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened in the cluster, oldest first",
		Long: `Show what happened in the cluster, oldest first. Checkpoints that are kept and deleted all the time are left out: see them with
--all or --type checkpoint. A type is the word that -o json shows, or how it begins: --type job_failed, --type alias. Tables have the newest
100 without --limit; -o json and -o yaml have all, or at most --limit of them: then next_page_token is not empty where there are older ones.`,
		Example: "  tandem events --level warning --since 24h\n  tandem events --job digits --all\n  tandem events --type node,coordinator --follow",
		Args:    want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) (err error) {
			if req.Types, err = eventTypes(types); err != nil {
				return &usageError{err}
			}
			if req.Since, err = sinceTime(since, time.Now()); err != nil {
				return &usageError{err}
			}
			return a.events(ctx, c, req, a.rowLimit(limit), follow)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&req.JobId, "job", "", "only of this job")
	f.StringSliceVar(&types, "type", nil, "only of these types")
	f.StringVar(&req.Level, "level", "", "only of this level or above: info or warning")
	f.StringVar(&req.Node, "node", "", "only about this node, or something on it")
	f.StringVar(&since, "since", "", "only since then: how long ago (24h), or a time (2026-01-02T15:04:05Z)")
	f.BoolVar(&req.Routine, "all", false, "checkpoints too")
	f.BoolVarP(&follow, "follow", "f", false, "go on with what happens from now on; Ctrl-C ends it")
	quantity.Flag(f, &limit, "limit", 0, 1, math.MaxInt32-1, fmt.Sprintf("at most this many, the newest; without it %d are shown, and -o json has all", shownRows))
	must(cmd.RegisterFlagCompletionFunc("level", cobra.FixedCompletions([]string{"info", "warning"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(eventWords(), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// events shows the newest events, and those that come when it follows.
func (a *app) events(ctx context.Context, c *client.Client, req *tandemv1.ListEventsRequest, limit int32, follow bool) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		res, err := listEvents(ctx, c, req, limit)
		if err != nil {
			return err
		}
		all := res.GetEvents()
		if first || len(all) > 0 {
			if err := a.show(res, eventGrid(all, first)); err != nil {
				return err
			}
		}
		if first && res.GetNextPageToken() != "" && a.people() {
			a.say("There are older ones: these are the newest %d. See more with --limit, or fewer kinds with --type, --level, --job, --node or --since.", len(all))
		}
		if len(all) > 0 {
			req.After = all[len(all)-1].GetId()
		}
		if !follow {
			return nil
		}
		limit = math.MaxInt32 // none of those that come is left out
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// listEvents asks page by page for the newest events, at most limit of them.
func listEvents(ctx context.Context, c *client.Client, req *tandemv1.ListEventsRequest, limit int32) (*tandemv1.ListEventsResponse, error) {
	all, next, err := pages(limit, func(limit int32, token string) ([]*tandemv1.Event, string, error) {
		req.Limit, req.PageToken = limit, token
		res, err := c.Events.ListEvents(ctx, connect.NewRequest(req))
		if err != nil {
			return nil, "", err
		}
		return res.Msg.GetEvents(), res.Msg.GetNextPageToken(), nil
	})
	return &tandemv1.ListEventsResponse{Events: oldestFirst(all), NextPageToken: next}, err
}

func eventGrid(all []*tandemv1.Event, first bool) grid {
	g := grid{header: []string{"TIME", "LEVEL", "ABOUT", "WHAT HAPPENED", "SUBJECT"}, wide: 1, empty: "No events.", bare: !first}
	for _, e := range all {
		g.rows = append(g.rows, []string{
			e.GetTime().AsTime().Local().Format("01-02 15:04:05"), e.GetLevel(), e.GetNoun(), e.GetMessage(), e.GetSubject(),
		})
	}
	return g
}

// eventWords are all types, in the order of their numbers.
func eventWords() []string { return plain.Words(tandemv1.Event_Type(0).Descriptor()) }

// eventTypes are the types whose words are given, or begin so.
func eventTypes(words []string) (types []tandemv1.Event_Type, err error) {
	for _, word := range words {
		found := 0
		for _, w := range eventWords() {
			if n, ok := plain.Number(tandemv1.Event_Type(0).Descriptor(), w); ok && (w == word || strings.HasPrefix(w, word+"_")) {
				types = append(types, tandemv1.Event_Type(n))
				found++
			}
		}
		if found == 0 {
			return nil, fmt.Errorf("--type %s is not known; the types are %s", word, strings.Join(eventWords(), ", "))
		}
	}
	return types, nil
}
