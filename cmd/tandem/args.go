package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/proto/kind"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// want checks the number of arguments and names those that are missing.
func want(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing", strings.Join(names[len(args):], " and "))
		case len(args) > len(names):
			return fmt.Errorf("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// some checks that there is at least one argument.
func some(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s is missing", name)
		}
		return nil
	}
}

// group is a command that only holds others; one that does not exist is an error, not a page of help.
func group(use, summary string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: summary}
	onlyHolds(c)
	c.AddCommand(commands...)
	return c
}

func onlyHolds(c *cobra.Command) {
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// addCompletion adds cobra's completion command, which answers a shell it does not know with a page of help and success.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			onlyHolds(c)
		}
	}
}

// missingFlag is an error that names the flag which a command cannot do without, and what it is.
func missingFlag(cmd *cobra.Command) (err error) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, required := f.Annotations[cobra.BashCompOneRequiredFlag]; required && !f.Changed && err == nil {
			err = &usageError{fmt.Errorf("--%s is missing: %s", f.Name, f.Usage)}
		}
	})
	return err
}

// complete offers names to the shell; it gives up soon and in silence.
func (a *app) complete(names func(context.Context, *client.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
		defer cancel()
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		found, err := names(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completeContexts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	file, err := a.contexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return file.Names(), cobra.ShellCompDirectiveNoFileComp
}

func jobNames(ctx context.Context, c *client.Client) ([]string, error) {
	res, err := c.Jobs.ListJobs(ctx, connect.NewRequest(&tandemv1.ListJobsRequest{}))
	if err != nil {
		return nil, err
	}
	return namesOf(res.Msg.GetJobs()), nil
}

// namesOf are names of jobs, newest first, each once, then their ids: a name stands for the newest job that has it.
func namesOf(jobs []*tandemv1.Job) (names []string) {
	known := map[string]bool{}
	for _, j := range jobs {
		if !known[j.GetName()] {
			names = append(names, cobra.CompletionWithDesc(j.GetName(), j.GetId()+", "+plain.Word(j.GetState())))
		}
		known[j.GetName()] = true
	}
	for _, j := range jobs {
		names = append(names, cobra.CompletionWithDesc(j.GetId(), j.GetName()+", "+plain.Word(j.GetState())))
	}
	return names
}

func sweepNames(ctx context.Context, c *client.Client) ([]string, error) {
	res, err := c.Jobs.ListJobs(ctx, connect.NewRequest(&tandemv1.ListJobsRequest{}))
	if err != nil {
		return nil, err
	}
	return namesOf(slices.DeleteFunc(res.Msg.GetJobs(), func(j *tandemv1.Job) bool { return !kind.Of(j).Searches })), nil
}

func modelNames(ctx context.Context, c *client.Client) ([]string, error) {
	res, err := c.Models.ListModels(ctx, connect.NewRequest(&tandemv1.ListModelsRequest{}))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range res.Msg.GetModels() {
		names = append(names, m.GetName())
		for _, alias := range m.GetAliases() {
			names = append(names, m.GetName()+"@"+alias.GetName())
		}
	}
	return names, nil
}

func datasetNames(ctx context.Context, c *client.Client) ([]string, error) {
	res, err := c.Datasets.ListDatasets(ctx, connect.NewRequest(&tandemv1.ListDatasetsRequest{}))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range res.Msg.GetDatasets() {
		names = append(names, fmt.Sprintf("%s@%d", d.GetName(), d.GetVersion()))
	}
	return names, nil
}

func checkpointNames(ctx context.Context, c *client.Client) ([]string, error) {
	res, err := c.Checkpoints.ListCheckpoints(ctx, connect.NewRequest(&tandemv1.ListCheckpointsRequest{}))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, k := range res.Msg.GetCheckpoints() {
		names = append(names, k.GetId())
	}
	return names, nil
}

func nodeNames(ctx context.Context, c *client.Client) ([]string, error) {
	res, err := c.Nodes.ListNodes(ctx, connect.NewRequest(&tandemv1.ListNodesRequest{}))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range res.Msg.GetNodes() {
		names = append(names, cobra.CompletionWithDesc(n.GetNode().GetName(), n.GetNode().GetId()), n.GetNode().GetId())
	}
	return names, nil
}
