package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) serveCommand() *cobra.Command {
	var replicas int32
	var pool string
	var noWait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "serve MODEL[@VERSION]",
		Short: "Serve a model over the Open Inference Protocol",
		Long: `Serve a version or an alias of a model on the cluster's workers, and wait until it answers. Without @VERSION the
alias champion is served when there is one, else the newest version. A deployment of an alias follows the alias.

Serving the same model again changes what is served, or how many replicas of it, without a gap.`,
		Example: `  tandem serve digits@champion --replicas 2
  tandem serve list
  tandem serve stop digits`,
		Args:              want("MODEL"),
		ValidArgsFunction: a.complete(modelNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Deployments.ApplyDeployment(ctx, connect.NewRequest(&tandemv1.ApplyDeploymentRequest{
				Model: args[0], Replicas: replicas, Pool: pool, RequestId: a.newRequestID(),
			}))
			if err != nil {
				return err
			}
			d := res.Msg.GetDeployment()
			if noWait {
				return a.show(res.Msg, text(d.GetName()+" is accepted; see `tandem serve list`"))
			}
			w, err := a.awaitDeployment(ctx, c, d, timeout)
			if err != nil {
				return err
			}
			return a.show(w, text(fmt.Sprintf("%s@%d is served by %s at https://%s/v2/models/%s",
				d.GetName(), w.GetDeployment().GetVersion(), several(ready(w), "replica"), c.Endpoint(), d.GetName())))
		}),
	}
	f := cmd.Flags()
	quantity.Flag(f, &replicas, "replicas", 1, 1, 100, "serving copies, 1 to 100")
	f.StringVar(&pool, "pool", "", "pool to place them in")
	f.BoolVar(&noWait, "no-wait", false, "do not wait until it answers")
	quantity.Flag(f, &timeout, "timeout", 2*time.Minute, quantity.LeastTimeout, 0, "wait so long at most")
	cmd.AddCommand(a.serveListCommand(), a.serveDescribeCommand(), a.serveStopCommand())
	return cmd
}

// ready counts the replicas of the newest revision that answer.
func ready(w *tandemv1.WatchDeploymentResponse) int {
	n := 0
	for _, r := range w.GetReplicas() {
		if r.GetState() == tandemv1.ReplicaState_REPLICA_STATE_READY && r.GetVersion() == w.GetDeployment().GetVersion() {
			n++
		}
	}
	return n
}

// awaitDeployment waits until all replicas of a deployment answer, across the loss of coordinators.
func (a *app) awaitDeployment(ctx context.Context, c *client.Client, d *tandemv1.Deployment, timeout time.Duration) (*tandemv1.WatchDeploymentResponse, error) {
	watching, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	reason := ""
	var served *tandemv1.WatchDeploymentResponse
	err := watch(watching, c, streamed[tandemv1.WatchDeploymentResponse]{
		open: func(ctx context.Context) (*connect.ServerStreamForClient[tandemv1.WatchDeploymentResponse], error) {
			return c.Deployments.WatchDeployment(ctx, connect.NewRequest(&tandemv1.WatchDeploymentRequest{Name: d.GetName()}))
		},
		take: func(w *tandemv1.WatchDeploymentResponse) (bool, error) {
			if w.GetDeployment().GetRevision() >= d.GetRevision() && ready(w) >= int(w.GetDeployment().GetReplicas()) {
				served = w
				return true, nil
			}
			if now := deploymentReason(w); now != reason && now != "" {
				a.say("waiting: %s", now)
				reason = now
			}
			return false, nil
		},
	})
	switch {
	case served == nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case served == nil && watching.Err() != nil:
		return nil, fmt.Errorf("%w; the deployment stays: `tandem serve describe %s` says why it does not answer", errTimeout, d.GetName())
	}
	return served, err
}

// deploymentReason says why replicas do not exist: the deployment's own reason, or that of one that failed.
func deploymentReason(w *tandemv1.WatchDeploymentResponse) string {
	if r := w.GetDeployment().GetReason(); r != "" {
		return r
	}
	for _, r := range w.GetReplicas() {
		if r.GetReason() != "" {
			return r.GetId() + ": " + r.GetReason()
		}
	}
	return ""
}

func (a *app) serveListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List what is served",
		Args:  want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Deployments.ListDeployments(ctx, connect.NewRequest(&tandemv1.ListDeploymentsRequest{}))
			if err != nil {
				return err
			}
			g := grid{
				header: []string{"NAME", "TARGET", "VERSION", "READY", "AGE", "REASON", "POOL", "REVISION"}, wide: 2,
				empty: "Nothing is served. Serve a model: tandem serve MODEL@champion",
			}
			for _, d := range res.Msg.GetDeployments() {
				w := &tandemv1.WatchDeploymentResponse{Deployment: d}
				for _, r := range res.Msg.GetReplicas() {
					if r.GetDeployment() == d.GetName() {
						w.Replicas = append(w.Replicas, r)
					}
				}
				g.rows = append(g.rows, []string{
					d.GetName(), d.GetTarget(), number(d.GetVersion()), fmt.Sprintf("%d/%d", ready(w), d.GetReplicas()),
					age(d.GetCreatedAt()), deploymentReason(w), d.GetPool(), number(d.GetRevision()),
				})
			}
			return a.show(res.Msg, g)
		}),
	}
}

func (a *app) deploymentNames() cobra.CompletionFunc {
	return a.complete(func(ctx context.Context, c *client.Client) ([]string, error) {
		res, err := c.Deployments.ListDeployments(ctx, connect.NewRequest(&tandemv1.ListDeploymentsRequest{}))
		if err != nil {
			return nil, err
		}
		var names []string
		for _, d := range res.Msg.GetDeployments() {
			names = append(names, d.GetName())
		}
		return names, nil
	})
}

func (a *app) serveDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "describe NAME",
		Short:             "Show a deployment and its replicas",
		Args:              want("NAME"),
		ValidArgsFunction: a.deploymentNames(),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Deployments.GetDeployment(ctx, connect.NewRequest(&tandemv1.GetDeploymentRequest{Name: args[0]}))
			if err != nil {
				return err
			}
			d := res.Msg.GetDeployment()
			g := grid{title: "Replicas", header: []string{"ID", "STATE", "VERSION", "NODE", "SLOT", "AGE", "REASON"}}
			for _, r := range res.Msg.GetReplicas() {
				g.rows = append(g.rows, []string{
					r.GetId(), plain.Word(r.GetState()), number(r.GetVersion()), r.GetNodeId(), r.GetSlotId(), age(r.GetCreatedAt()), r.GetReason(),
				})
			}
			return a.show(res.Msg, fields{
				{"Deployment", d.GetName()}, {"Serves", fmt.Sprintf("%s@%s, version %d", d.GetName(), d.GetTarget(), d.GetVersion())},
				{"Replicas", number(d.GetReplicas())}, {"Pool", d.GetPool()}, {"Revision", number(d.GetRevision())}, {"Reason", d.GetReason()},
				{"Created", moment(d.GetCreatedAt())}, {"Changed", moment(d.GetUpdatedAt())},
				{"URL", fmt.Sprintf("https://%s/v2/models/%s", c.Endpoint(), d.GetName())},
			}, g)
		}),
	}
}

func (a *app) serveStopCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "stop NAME",
		Short:             "Stop serving a model; its versions stay",
		Args:              want("NAME"),
		ValidArgsFunction: a.deploymentNames(),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			name, _, _ := strings.Cut(args[0], "@")
			if err := a.confirm(fmt.Sprintf("Stop serving %s?", name)); err != nil {
				return err
			}
			res, err := c.Deployments.DeleteDeployment(ctx, connect.NewRequest(&tandemv1.DeleteDeploymentRequest{Name: name, RequestId: a.newRequestID()}))
			if err != nil {
				return err
			}
			return a.show(res.Msg, text(name+" is not served any more"))
		}),
	}
}
