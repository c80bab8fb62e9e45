package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Set is the command that changes where a job stands, and what people say of it.
func (s Shell) Set() *cobra.Command {
	keys := []cobra.Completion{"priority=", "pool=", "note=", "label"}
	return &cobra.Command{
		Use:   "set JOB priority=N|pool=NAME|note=TEXT|label KEY=VALUE...",
		Short: "Change the priority, the labels and the note of a job, or its pool while it holds no slots",
		Long: "Change the priority of a job (higher goes first), at once: one that waits may then begin before others,\n" +
			"and have them give way. A job that holds slots stays in its pool: pause it first, and resume it there.\n\n" +
			"What follows on label are labels, by which tandem list -l finds jobs; KEY= takes one away. Labels and the note\n" +
			"of a job that has ended can be changed too.",
		Example: "  tandem set digits priority=5\n  tandem set digits pool=gpu\n" +
			"  tandem set digits note=\"lr too high\" label team=vision stage=",
		Args: s.Change,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return keys, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
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
			return s.Show(res.Msg, standing(res.Msg.GetJob()))
		}),
	}
}

// standing says where a job stands now, and what is said of it.
func standing(j *tandemv1.Job) string {
	text := fmt.Sprintf("%s (%s) has priority %d in pool %s", j.GetId(), j.GetName(), j.GetPriority(), j.GetPool())
	if labels := Labels(j.GetLabels()); labels != "" {
		text += ", labels " + labels
	}
	if j.GetNote() != "" {
		text += fmt.Sprintf(", note %q", j.GetNote())
	}
	return text
}

// Labels writes labels for people, by key.
func Labels(labels map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, key+"="+labels[key])
	}
	return strings.Join(all, ",")
}

// After names the jobs that a job comes after, and says which of them are awaited.
func After(j *tandemv1.Job) string {
	var all []string
	for _, p := range j.GetAfter() {
		name := p.GetName()
		if !p.GetCompleted() {
			name += " (awaited)"
		}
		all = append(all, name)
	}
	return strings.Join(all, ", ")
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
	for i, change := range args[1:] {
		if change == "label" {
			labels, err := ParseLabels(args[i+2:])
			req.Labels = labels
			return req, err
		}
		switch key, value, set := strings.Cut(change, "="); {
		case key == "priority" && req.Priority == nil:
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("%s: the priority must be a whole number", change)
			}
			p := int32(n)
			req.Priority = &p
		case key == "pool" && req.Pool == nil && value != "":
			req.Pool = &value
		case key == "note" && req.Note == nil && set:
			req.Note = &value
		case key == "priority", key == "pool" && value != "", key == "note" && set:
			return nil, fmt.Errorf("%s: it is given twice, and holds one value", key)
		default:
			return nil, fmt.Errorf("%q cannot be set: say priority=N, pool=NAME, note=TEXT or label KEY=VALUE", change)
		}
	}
	return req, nil
}

// ParseLabels reads labels that are to be set; an empty value takes one away.
func ParseLabels(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, fmt.Errorf("name labels, as in: label team=vision; an empty value takes one away: team=")
	}
	labels := map[string]string{}
	for _, pair := range pairs {
		key, value, set := strings.Cut(pair, "=")
		if _, twice := labels[key]; !set || key == "" || twice {
			return nil, fmt.Errorf("%q: write labels as KEY=VALUE, each key once; an empty value takes the label away", pair)
		}
		labels[key] = value
	}
	return labels, nil
}
