package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/project"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) tokenCommand() *cobra.Command {
	return group("token", "Make and revoke tokens for clients, and for nodes that join",
		a.tokenCreateCommand(), a.tokenListCommand(), a.tokenRevokeCommand())
}

// tokenOptions are those of "tandem token create".
type tokenOptions struct {
	role, project string
	join, forever bool
	ttl           time.Duration
	uses          int32
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var o tokenOptions
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Make a token; its secret is shown this once",
		Long: `Make a token. Its secret goes to standard output and is shown this once.

For a client (--role admin, user or viewer) it ends after 90 days unless --ttl or --no-expiry is given; for a node that joins (--join --role
worker or coordinator) it ends after an hour (at most 30 days: --ttl 720h) and lets one node of that role in until then, or as many as --uses
says.`,
		Args: cobra.MaximumNArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&o.role, "role", "", "admin, user (the default) or viewer; with --join worker (the default) or coordinator")
	f.StringVar(&o.project, "project", "", "project whose things it gives access to, '*' for all; by default the \"default\" one, and all for an admin")
	must(cmd.RegisterFlagCompletionFunc("project", a.complete(project.Names)))
	f.BoolVar(&o.join, "join", false, "the token lets a node join")
	quantity.Flag(f, &o.uses, "uses", 1, 0, 0, "with --join: how many nodes may join with it; 0: any number")
	quantity.Flag(f, &o.ttl, "ttl", 0, time.Second, 0,
		"how long it is good, such as 24h; by default 2160h (90 days), with --join 1h and at most 720h (30 days)")
	f.BoolVar(&o.forever, "no-expiry", false, "it never ends; revoke it when it is not needed any more")
	cmd.RunE = a.call(func(ctx context.Context, c *client.Client, args []string) error {
		req, err := o.request(f.Changed("ttl"))
		if err != nil {
			return &usageError{err}
		}
		if len(args) > 0 {
			req.Name = args[0]
		} else {
			id := a.newRequestID()
			req.Name = req.GetRole() + "-" + id[len(id)-6:]
		}
		res, err := c.Tokens.CreateToken(ctx, connect.NewRequest(req))
		if err != nil {
			return err
		}
		t := res.Msg.GetToken()
		if err := a.show(res.Msg, text(res.Msg.GetSecret())); err != nil {
			return err
		}
		until := "never ends"
		if t.GetExpiresAt() != nil {
			until = "ends in " + duration(time.Until(t.GetExpiresAt().AsTime()))
		}
		a.say("Token %s (%s) %s. It is not shown again; revoke it with `tandem token revoke %s`.", t.GetName(), t.GetRole(), until, t.GetName())
		if o.join {
			a.say("It is good for %s.", joins(t.GetUses()))
			a.say("On the machine: tandem %s --data-dir FOLDER --join %s --token-file FILE_WITH_THE_TOKEN", t.GetRole(), strings.Join(c.Context.Endpoints, ","))
		}
		return nil
	})
	return cmd
}

// request is what is asked of the cluster; limited says that a ttl was given. In a request 0 stands for the default life, and -1 for none, so
// that no ttl may become one of these.
func (o tokenOptions) request(limited bool) (*tandemv1.CreateTokenRequest, error) {
	if o.role == "" {
		o.role = map[bool]string{false: "user", true: "worker"}[o.join]
	}
	req := &tandemv1.CreateTokenRequest{Role: o.role, Project: o.project, Join: o.join, TtlSeconds: int64(o.ttl / time.Second)}
	switch {
	case o.forever && (o.join || limited):
		return nil, errors.New("--no-expiry is for tokens of clients, without --ttl")
	case o.forever:
		req.TtlSeconds = -1
	case limited && o.ttl%time.Second != 0:
		return nil, fmt.Errorf("--ttl %v: must be in whole seconds; leave it out for the default", o.ttl)
	}
	switch {
	case o.join && o.uses == 0:
		req.Uses = -1
	case o.join:
		req.Uses = o.uses
	case o.uses != 1:
		return nil, errors.New("--uses is for tokens that let nodes join: add --join")
	}
	return req, roleFits(o.role, o.join)
}

// joins is how often a join token is good for people.
func joins(uses int32) string {
	switch uses {
	case 0:
		return "any number of nodes"
	case 1:
		return "one node"
	}
	return fmt.Sprintf("%d nodes", uses)
}

func roleFits(role string, join bool) error {
	switch role {
	case "admin", "user", "viewer":
		if !join {
			return nil
		}
	case "worker", "coordinator":
		if join {
			return nil
		}
		return fmt.Errorf("role %s is for nodes: add --join", role)
	}
	if join {
		return fmt.Errorf("role %q cannot join: use worker or coordinator", role)
	}
	return fmt.Errorf("unknown role %q: use admin, user or viewer", role)
}

func (a *app) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List tokens",
		Args:  want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Tokens.ListTokens(ctx, connect.NewRequest(&tandemv1.ListTokensRequest{}))
			if err != nil {
				return err
			}
			g := grid{header: []string{"NAME", "ROLE", "FOR", "PROJECT", "USED", "AGE", "ENDS", "ID"}, wide: 1, empty: "No tokens."}
			for _, t := range res.Msg.GetTokens() {
				use, used, ends := "clients", "", "never"
				if t.GetJoin() {
					use, used = "joining", fmt.Sprintf("%d of %d", t.GetUsed(), t.GetUses())
				}
				if t.GetJoin() && t.GetUses() == 0 {
					used = strconv.Itoa(int(t.GetUsed()))
				}
				if at := t.GetExpiresAt(); at != nil {
					ends = "ended"
					if left := time.Until(at.AsTime()); left > 0 {
						ends = "in " + duration(left)
					}
				}
				g.rows = append(g.rows, []string{t.GetName(), t.GetRole(), use, t.GetProject(), used, age(t.GetCreatedAt()), ends, t.GetId()})
			}
			return a.show(res.Msg, g)
		}),
	}
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke TOKEN",
		Short: "Refuse a token from now on (by name or id)",
		Args:  want("TOKEN"),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(fmt.Sprintf("Revoke token %s? Whoever uses it is shut out at once.", args[0])); err != nil {
				return err
			}
			res, err := c.Tokens.RevokeToken(ctx, connect.NewRequest(&tandemv1.RevokeTokenRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			return a.show(res.Msg, text(args[0]+" is revoked"))
		}),
	}
}
