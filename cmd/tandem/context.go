package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/input"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) contextCommand() *cobra.Command {
	return group("context", "Show and choose the clusters this user knows",
		a.contextListCommand(), a.contextAddCommand(), a.contextUseCommand(), a.contextRefreshCommand(), a.contextRemoveCommand())
}

// contextEntry is what programs are told of a context; its token stays out of it.
type contextEntry struct {
	Name      string   `json:"name"`
	Current   bool     `json:"current"`
	Endpoints []string `json:"endpoints"`
}

func contextOf(c client.Context, file *client.File) contextEntry {
	return contextEntry{c.Name, c.Name == file.Current, c.Reach()}
}

func (a *app) contextListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List contexts; the current one has a star",
		Args:  want(),
		RunE: a.run(func(context.Context, []string) error {
			file, err := a.contexts()
			if err != nil {
				return err
			}
			list := []contextEntry{}
			g := grid{header: []string{"", "NAME", "ENDPOINTS"}, empty: "No contexts in " + file.Path() + ". `tandem up` writes one, `tandem context add` another."}
			for _, c := range file.Contexts {
				star := ""
				if c.Name == file.Current {
					star = "*"
				}
				list = append(list, contextOf(c, file))
				g.rows = append(g.rows, []string{star, c.Name, strings.Join(c.Reach(), ", ")})
			}
			return a.showValue(list, g)
		}),
	}
}

func (a *app) contextAddCommand() *cobra.Command {
	var endpoints []string
	var caFile, tokenFile string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Remember how to reach a cluster that somebody else runs",
		Long: `Remember how to reach a cluster. Whoever runs it gives three things: where its coordinators are, the certificate of its CA
(NAME.ca.pem beside the contexts file of anyone who has a context of it), and a token (tandem token create).

The first context becomes the current one; "tandem context use" chooses another.`,
		Example: "  tandem context add lab --endpoint 10.0.0.1:7070 --endpoint 10.0.0.2:7070 --ca-file lab.ca.pem --token-file token",
		Args:    want("NAME"),
		RunE: a.run(func(_ context.Context, args []string) error {
			c, err := a.newContext(args[0], endpoints, caFile, tokenFile)
			if err != nil {
				return err
			}
			file, err := a.contexts()
			if err != nil {
				return err
			}
			if old, err := file.Get(c.Name); err == nil {
				if err := a.confirm(fmt.Sprintf("Replace context %s (%s) and its token?", old.Name, strings.Join(old.Endpoints, ", "))); err != nil {
					return err
				}
			}
			file.Put(c)
			if err := file.Save(); err != nil {
				return err
			}
			now := fmt.Sprintf("Context %s is written to %s; `%s context use %s` makes commands go there.", c.Name, file.Path(), a.name, c.Name)
			if file.Current == c.Name {
				now = fmt.Sprintf("Context %s is written to %s; commands go to %s.", c.Name, file.Path(), strings.Join(c.Endpoints, ", "))
			}
			return a.showValue(contextOf(c, file), text(now))
		}),
	}
	f := cmd.Flags()
	f.StringSliceVar(&endpoints, "endpoint", nil, "host:port of a coordinator; give all of them")
	f.StringVar(&caFile, "ca-file", "", "PEM file with the certificate of the cluster's CA; by default the system's, for a proxy that has one of those")
	f.StringVar(&tokenFile, "token-file", "", "file with the token; by default TANDEM_TOKEN")
	must(cmd.MarkFlagRequired("endpoint"))
	return cmd
}

// newContext makes a context of what somebody typed.
func (a *app) newContext(name string, endpoints []string, caFile, tokenFile string) (c client.Context, err error) {
	c = client.Context{Name: name}
	for _, e := range endpoints {
		c.Endpoints = append(c.Endpoints, strings.TrimSuffix(strings.TrimPrefix(e, "https://"), "/"))
	}
	if caFile != "" {
		pem, err := input.File(caFile, input.Secrets)
		if err != nil {
			return c, &usageError{fmt.Errorf("read the CA: %w", err)}
		}
		c.CA = string(pem)
	}
	if c.Token, err = a.secret(tokenFile, "TANDEM_TOKEN"); err != nil {
		return c, err
	}
	if err := c.Validate(); err != nil {
		return c, &usageError{err}
	}
	return c, nil
}

func (a *app) contextUseCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "use CONTEXT",
		Short:             "Talk to this cluster from now on",
		Args:              want("CONTEXT"),
		ValidArgsFunction: a.completeContexts,
		RunE: a.run(func(_ context.Context, args []string) error {
			file, err := a.contexts()
			if err != nil {
				return err
			}
			c, err := file.Get(args[0])
			if err != nil {
				return err
			}
			file.Current = c.Name
			if err := file.Save(); err != nil {
				return err
			}
			return a.showValue(contextOf(c, file), text(fmt.Sprintf("Commands go to %s (%s) now.", c.Name, strings.Join(c.Endpoints, ", "))))
		}),
	}
}

func (a *app) contextRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove CONTEXT",
		Short:             "Forget how to reach a cluster; the cluster itself stays",
		Args:              want("CONTEXT"),
		ValidArgsFunction: a.completeContexts,
		RunE: a.run(func(_ context.Context, args []string) error {
			file, err := a.contexts()
			if err != nil {
				return err
			}
			c, err := file.Get(args[0])
			if err != nil {
				return err
			}
			if err := a.confirm(fmt.Sprintf("Forget context %s and its token?", args[0])); err != nil {
				return err
			}
			file.Delete(c.Name)
			if err := file.Save(); err != nil {
				return err
			}
			return a.showValue(contextOf(c, file), text(c.Name+" is forgotten"))
		}),
	}
}

func (a *app) contextRefreshCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "refresh",
		Short: "Fetch the CA of the cluster again, when it is being replaced",
		Args:  want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if c.Context.Name == client.Environment {
				return errForeignCA
			}
			if c.Context.CA == "" {
				return &usageError{fmt.Errorf("context %q trusts the CAs of the system: there is nothing to fetch", c.Context.Name)}
			}
			file, err := a.refresh(ctx, c)
			if err != nil {
				return err
			}
			fresh, err := file.Get(c.Context.Name)
			if err != nil {
				return err
			}
			return a.showValue(contextOf(fresh, file), text(fmt.Sprintf("context %s trusts %d CAs of the cluster", fresh.Name, strings.Count(fresh.CA, "BEGIN CERTIFICATE"))))
		}),
	}
}

// errForeignCA means that the CAs that are trusted are in a file that is somebody else's.
var errForeignCA = &usageError{errors.New("TANDEM_CA names the file with the CA, which is not this program's to write: put there what `tandem api /v1/cluster` shows as rotation.caPem")}

// trusted asks the cluster, which proves itself by the CA that is known, for the CAs that are to be trusted, PEM.
func trusted(ctx context.Context, c *client.Client) (string, error) {
	res, err := c.Cluster.GetCluster(ctx, connect.NewRequest(&tandemv1.GetClusterRequest{}))
	if err != nil {
		return "", err
	}
	now := res.Msg.GetRotation().GetCaPem()
	if now == "" {
		return "", errors.New("the cluster does not name its CA: are its coordinators of an earlier release?")
	}
	return now, nil
}

// refresh writes the CAs of the cluster down in all contexts that trust the same as that of c: they are of one cluster.
func (a *app) refresh(ctx context.Context, c *client.Client) (*client.File, error) {
	now, err := trusted(ctx, c)
	if err != nil {
		return nil, err
	}
	file, err := a.contexts()
	if err != nil {
		return nil, err
	}
	for i, known := range file.Contexts {
		if known.CA == c.Context.CA {
			file.Contexts[i].CA = now
		}
	}
	return file, file.Save()
}
