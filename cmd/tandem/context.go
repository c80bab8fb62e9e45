package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
)

func (a *app) contextCommand() *cobra.Command {
	return group("context", "Show and choose the clusters this user knows",
		a.contextListCommand(), a.contextUseCommand(), a.contextRemoveCommand())
}

// contextEntry is what programs are told of a context; its token stays out of it.
type contextEntry struct {
	Name      string   `json:"name"`
	Current   bool     `json:"current"`
	Endpoints []string `json:"endpoints"`
}

func contextOf(c client.Context, file *client.File) contextEntry {
	return contextEntry{c.Name, c.Name == file.Current, c.Endpoints}
}

func (a *app) contextListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List contexts; the current one has a star",
		Args:  cobra.NoArgs,
		RunE: a.run(func(context.Context, []string) error {
			file, err := a.contexts()
			if err != nil {
				return err
			}
			list := []contextEntry{}
			g := grid{header: []string{"", "NAME", "ENDPOINTS"}, empty: "No contexts in " + file.Path() + ". `tandem up` writes one."}
			for _, c := range file.Contexts {
				star := ""
				if c.Name == file.Current {
					star = "*"
				}
				list = append(list, contextOf(c, file))
				g.rows = append(g.rows, []string{star, c.Name, strings.Join(c.Endpoints, ", ")})
			}
			return a.showValue(list, g)
		}),
	}
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
