package queue

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Shell is what the commands need of the program around them.
type Shell struct {
	// Call makes a command's function that needs the cluster.
	Call func(func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error
	// Want checks that one argument is given.
	Want func(arguments ...string) cobra.PositionalArgs
	// Jobs completes names of jobs.
	Jobs cobra.CompletionFunc
	// SetFlag adds the flag that changes keys of a spec, and Load reads one with its files, changed so.
	SetFlag func(cmd *cobra.Command, sets *[]string)
	Load    func(ctx context.Context, c *client.Client, file string, sets []string) (*tandemv1.JobSpec, error)
	// RequestID names a change.
	RequestID func() string
	// Show writes an answer: m for programs, text for people.
	Show func(m proto.Message, text string) error
}

// Explain is the command that says what is ahead of a job.
func (s Shell) Explain() *cobra.Command {
	return &cobra.Command{
		Use:               "explain JOB",
		Short:             "Say why a job waits, when it begins, and what would start it now",
		Args:              s.Want("JOB"),
		ValidArgsFunction: s.Jobs,
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Jobs.ExplainJob(ctx, connect.NewRequest(&tandemv1.ExplainJobRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			return s.Show(res.Msg, Text(res.Msg.GetOutlook(), args[0], false, time.Now()))
		}),
	}
}

// Plan is the command that says what would be ahead of a job.
func (s Shell) Plan() *cobra.Command {
	var sets []string
	cmd := &cobra.Command{
		Use:     "plan FILE",
		Short:   "Say where and when a job would begin, and what it would take, without submitting it",
		Example: "  tandem plan job.yaml --set resources.workers=4 --set priority=1",
		Args:    s.Want("FILE"),
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			spec, err := s.Load(ctx, c, args[0], sets)
			if err != nil {
				return err
			}
			res, err := c.Jobs.SubmitJob(ctx, connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: spec, DryRun: true}))
			if err != nil {
				return err
			}
			o := res.Msg.GetOutlook()
			if o == nil {
				return fmt.Errorf("%s is a sweep, whose trials are planned when they are made: plan one of its trainings", args[0])
			}
			return s.Show(&tandemv1.ExplainJobResponse{Outlook: o}, Text(o, res.Msg.GetJob().GetName(), true, time.Now()))
		}),
	}
	s.SetFlag(cmd, &sets)
	return cmd
}
