package project

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Variable is the environment's word for the project of commands.
const Variable = "TANDEM_PROJECT"

// Shell is what the commands need of the program around them.
type Shell struct {
	// Call makes a command's function that needs the cluster.
	Call func(func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error
	// Want checks that so many arguments are given.
	Want func(arguments ...string) cobra.PositionalArgs
	// Names completes names of projects.
	Names cobra.CompletionFunc
	// Contexts reads the user's contexts.
	Contexts func() (*client.File, error)
	// Confirm asks before something is taken away.
	Confirm func(question string) error
	// RequestID names a change.
	RequestID func() string
	// Show, Facts and List write an answer: m for programs, the rest for people.
	Show  func(m proto.Message, text string) error
	Facts func(m proto.Message, facts [][2]string) error
	List  func(m proto.Message, header []string, rows [][]string) error
}

// In is the project that a command works in: that of the flag, else of the environment, else of the context; empty: the token's.
func In(flag string, getenv func(string) string, c client.Context) string {
	return cmp.Or(flag, getenv(Variable), c.Project)
}

// Commands are those below "tandem project".
func (s Shell) Commands() []*cobra.Command {
	return []*cobra.Command{s.list(), s.describe(), s.create(), s.set(), s.delete(), s.use()}
}

func (s Shell) list() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the projects that this token gives access to",
		Args:  s.Want(),
		RunE: s.Call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Projects.ListProjects(ctx, connect.NewRequest(&tandemv1.ListProjectsRequest{}))
			if err != nil {
				return err
			}
			var rows [][]string
			for _, p := range res.Msg.GetProjects() {
				rows = append(rows, []string{p.GetName(), weight(p), p.GetDescription()})
			}
			return s.List(res.Msg, []string{"NAME", "WEIGHT", "DESCRIPTION"}, rows)
		}),
	}
}

func (s Shell) describe() *cobra.Command {
	return &cobra.Command{
		Use:               "describe PROJECT",
		Short:             "Show a project, and how much is in it",
		Args:              s.Want("PROJECT"),
		ValidArgsFunction: s.Names,
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Projects.GetProject(ctx, connect.NewRequest(&tandemv1.GetProjectRequest{Name: args[0]}))
			if err != nil {
				return err
			}
			p, number := res.Msg.GetProject(), func(n int32) string { return strconv.Itoa(int(n)) }
			return s.Facts(res.Msg, [][2]string{
				{"Name", p.GetName()}, {"Description", p.GetDescription()}, {"Weight", weight(p)},
				{"Jobs", number(res.Msg.GetJobs())}, {"Datasets", number(res.Msg.GetDatasets())}, {"Models", number(res.Msg.GetModels())},
				{"Deployments", number(res.Msg.GetDeployments())}, {"Tokens", number(res.Msg.GetTokens())},
			})
		}),
	}
}

func (s Shell) create() *cobra.Command {
	req := &tandemv1.CreateProjectRequest{}
	cmd := &cobra.Command{
		Use:   "create PROJECT",
		Short: "Make a project: jobs, datasets, models and deployments that no other project sees",
		Example: `  tandem project create vision --description "image models"
  tandem token create ann --project vision`,
		Args: s.Want("PROJECT"),
	}
	cmd.Flags().StringVar(&req.Description, "description", "", "what it is for")
	quantity.Flag(cmd.Flags(), &req.Weight, "weight", 1, leastWeight, mostWeight, weightUse)
	cmd.RunE = s.Call(func(ctx context.Context, c *client.Client, args []string) error {
		req.Name, req.RequestId = args[0], s.RequestID()
		res, err := c.Projects.CreateProject(ctx, connect.NewRequest(req))
		if err != nil {
			return err
		}
		said := "Project %[1]s is there. Who works in it needs a token: tandem token create NAME --project %[1]s"
		return s.Show(res.Msg, fmt.Sprintf(said, args[0]))
	})
	return cmd
}

// leastWeight and mostWeight are as far apart as weights may be.
const (
	leastWeight = 1e-6
	mostWeight  = 1e6
	weightUse   = "its part of the slots of a pool beside other projects: 2 is twice as much as 1"
)

func (s Shell) set() *cobra.Command {
	var description string
	var weight float64
	cmd := &cobra.Command{
		Use:               "set PROJECT",
		Short:             "Change the description or the weight of a project",
		Args:              s.Want("PROJECT"),
		ValidArgsFunction: s.Names,
	}
	f := cmd.Flags()
	f.StringVar(&description, "description", "", "what it is for")
	quantity.Flag(f, &weight, "weight", 1, leastWeight, mostWeight, weightUse)
	cmd.MarkFlagsOneRequired("description", "weight")
	cmd.RunE = s.Call(func(ctx context.Context, c *client.Client, args []string) error {
		req := &tandemv1.SetProjectRequest{Name: args[0], RequestId: s.RequestID()}
		if f.Changed("description") {
			req.Description = &description
		}
		if f.Changed("weight") {
			req.Weight = &weight
		}
		res, err := c.Projects.SetProject(ctx, connect.NewRequest(req))
		if err != nil {
			return err
		}
		return s.Show(res.Msg, args[0]+" is changed")
	})
	return cmd
}

func (s Shell) delete() *cobra.Command {
	return &cobra.Command{
		Use:               "delete PROJECT",
		Short:             "Delete a project that nothing is in",
		Args:              s.Want("PROJECT"),
		ValidArgsFunction: s.Names,
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := s.Confirm(fmt.Sprintf("Delete project %s?", args[0])); err != nil {
				return err
			}
			req := &tandemv1.DeleteProjectRequest{Name: args[0], RequestId: s.RequestID()}
			res, err := c.Projects.DeleteProject(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			return s.Show(res.Msg, args[0]+" is deleted")
		}),
	}
}

func (s Shell) use() *cobra.Command {
	return &cobra.Command{
		Use:   "use PROJECT",
		Short: "Work in a project from now on, with the current context",
		Long: `Work in a project from now on, with the current context. One command is elsewhere with --project, a script with ` + Variable + `.

Without any of these a command works in the project of the token, or in "default" when the token gives access to all.`,
		Args:              s.Want("PROJECT"),
		ValidArgsFunction: s.Names,
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Projects.GetProject(ctx, connect.NewRequest(&tandemv1.GetProjectRequest{Name: args[0]}))
			if err != nil {
				return err
			}
			file, err := s.Contexts()
			if err != nil {
				return err
			}
			now, err := file.Get(c.Context.Name)
			if err != nil {
				return errors.New("the cluster is named by the environment: set " + Variable + " beside it")
			}
			now.Project = args[0]
			file.Put(now)
			if err := file.Save(); err != nil {
				return err
			}
			return s.Show(res.Msg, fmt.Sprintf("Commands of context %s work in project %s.", now.Name, args[0]))
		}),
	}
}

// Names are those of the projects, to complete a word.
func Names(ctx context.Context, c *client.Client) (names []string, err error) {
	res, err := c.Projects.ListProjects(ctx, connect.NewRequest(&tandemv1.ListProjectsRequest{}))
	if err != nil {
		return nil, err
	}
	for _, p := range res.Msg.GetProjects() {
		names = append(names, p.GetName())
	}
	return names, nil
}

func weight(p *tandemv1.Project) string {
	return strconv.FormatFloat(cmp.Or(p.GetWeight(), 1), 'g', -1, 64)
}
