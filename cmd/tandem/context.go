package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

func (a *app) contextCommand() *cobra.Command {
	return group("context", "Show and choose the clusters this user knows",
		a.contextListCommand(), a.contextUseCommand(), a.contextRemoveCommand())
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
			type entry struct {
				Name      string   `json:"name"`
				Current   bool     `json:"current"`
				Endpoints []string `json:"endpoints"`
			}
			list := []entry{}
			g := grid{header: []string{"", "NAME", "ENDPOINTS"}, empty: "No contexts in " + file.Path() + ". `tandem up` writes one."}
			for _, c := range file.Contexts {
				star := ""
				if c.Name == file.Current {
					star = "*"
				}
				list = append(list, entry{c.Name, c.Name == file.Current, c.Endpoints})
				g.rows = append(g.rows, []string{star, c.Name, strings.Join(c.Endpoints, ", ")})
			}
			var b []byte
			switch a.output {
			case "json":
				b, err = json.MarshalIndent(list, "", "  ")
				b = append(b, '\n')
			case "yaml":
				b, err = yaml.Marshal(list)
			default:
				g.write(a.out, a.output == "wide")
				return nil
			}
			if err != nil {
				return err
			}
			_, err = a.out.Write(b)
			return err
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
			_, err = fmt.Fprintf(a.out, "Commands go to %s (%s) now.\n", c.Name, strings.Join(c.Endpoints, ", "))
			return err
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
			if _, err := file.Get(args[0]); err != nil {
				return err
			}
			if err := a.confirm(fmt.Sprintf("Forget context %s and its token?", args[0])); err != nil {
				return err
			}
			file.Delete(args[0])
			return file.Save()
		}),
	}
}
