package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Set is the command that changes where a job stands.
func (s Shell) Set() *cobra.Command {
	return &cobra.Command{
		Use:   "set JOB priority=N|pool=NAME...",
		Short: "Change the priority of a job, or its pool while it holds no slots",
		Long: "Change the priority of a job (higher goes first), at once: one that waits may then begin before others,\n" +
			"and have them give way. A job that holds slots stays in its pool: pause it first, and resume it there.",
		Example: "  tandem set digits priority=5\n  tandem set digits pool=gpu",
		Args:    s.Change,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return []cobra.Completion{"priority=", "pool="}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
			}
			return s.Jobs(cmd, args, begun)
		},
		RunE: s.Call(func(ctx context.Context, c *client.Client, args []string) error {
			req, _ := parse(args)
			req.RequestId = s.RequestID()
			res, err := c.Jobs.UpdateJob(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			j := res.Msg.GetJob()
			return s.Show(res.Msg, fmt.Sprintf("%s (%s) has priority %d in pool %s", j.GetId(), j.GetName(), j.GetPriority(), j.GetPool()))
		}),
	}
}

// Change checks the arguments of Set.
func (Shell) Change(_ *cobra.Command, args []string) error {
	_, err := parse(args)
	return err
}

// parse reads a job and what is to be changed.
func parse(args []string) (*tandemv1.UpdateJobRequest, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("name a job and what it is to have, as in: tandem set JOB priority=5")
	}
	req := &tandemv1.UpdateJobRequest{Id: args[0]}
	for _, change := range args[1:] {
		switch key, value, _ := strings.Cut(change, "="); {
		case key == "priority" && req.Priority == nil:
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("%s: the priority must be a whole number", change)
			}
			p := int32(n)
			req.Priority = &p
		case key == "pool" && req.Pool == nil && value != "":
			req.Pool = &value
		case key == "priority", key == "pool" && value != "":
			return nil, fmt.Errorf("%s: it is given twice, and holds one value", key)
		default:
			return nil, fmt.Errorf("%q cannot be set: say priority=N or pool=NAME", change)
		}
	}
	return req, nil
}
