package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/cmd/tandem/spec"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// submitOptions are the flags of submit.
type submitOptions struct {
	file    string
	sets    []string
	wait    bool
	dryRun  bool
	timeout time.Duration

	submitted *tandemv1.Job // what is known of the job that is followed

	ephemeral bool // the cluster ends with this command: there is nothing to come back to
}

func (a *app) submitCommand() *cobra.Command {
	var o submitOptions
	cmd := &cobra.Command{
		Use:   "submit -f FILE",
		Short: "Submit a job",
		Long: `Submit a job. The spec is YAML or JSON; every key is in docs/spec.md.

With --wait the job is followed to its end; Ctrl-C then detaches and the job goes on. With --dry-run -o yaml or json the output is the
complete spec, which submit takes as it is. It also takes a job, as tandem describe -o yaml or json writes it, and submits the spec of that.`,
		Example: `  tandem submit -f job.yaml --wait
  tandem submit -f job.yaml --set training.seed=2 --set resources.workers=4
  tandem submit -f job.yaml --dry-run -o yaml
  tandem describe digits -o yaml | tandem submit -f -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unexpected argument %q: name the file of the spec with -f, as in tandem submit -f %s", args[0], args[0])
			}
			return nil
		},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			if o.file == "" {
				return &usageError{fmt.Errorf("name the spec with -f FILE (- for standard input)")}
			}
			s, err := a.loadSpec(o.file, o.sets)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = a.submit(ctx, c, s, filepath.Dir(o.file), o)
			return c.Explain(err)
		}),
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "file with the spec; - for standard input")
	submitFlags(cmd, &o)
	return cmd
}

// submitFlags are the flags of commands that submit a spec.
func submitFlags(cmd *cobra.Command, o *submitOptions) {
	f := cmd.Flags()
	setFlag(cmd, &o.sets)
	f.BoolVar(&o.wait, "wait", false, "follow the job to its end")
	f.BoolVar(&o.dryRun, "dry-run", false, "only check the spec, and show it with its defaults filled in")
	quantity.Flag(f, &o.timeout, "timeout", 0, quantity.LeastTimeout, 0, "with --wait: wait so long at most")
}

// setFlag is the flag of commands that read a spec.
func setFlag(cmd *cobra.Command, sets *[]string) {
	cmd.Flags().StringArrayVar(sets, "set", nil, "change one key: path=value, such as training.optimizer.lr=0.01; may be repeated")
	must(cmd.RegisterFlagCompletionFunc("set", func(_ *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return spec.Complete(begun), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}))
}

func (a *app) loadSpec(file string, sets []string) (*tandemv1.JobSpec, error) {
	b, err := a.read(file, spec.MaxBytes)
	if err != nil {
		return nil, &usageError{fmt.Errorf("read spec: %w", err)}
	}
	s, err := spec.Parse(file, b, sets)
	if err != nil {
		return nil, &usageError{err}
	}
	return s, nil
}

// loadWithFiles reads a spec and uploads the files that it names.
func (a *app) loadWithFiles(ctx context.Context, c *client.Client, file string, sets []string) (*tandemv1.JobSpec, error) {
	s, err := a.loadSpec(file, sets)
	if err != nil {
		return nil, err
	}
	return s, a.uploadModel(ctx, c, s, filepath.Dir(file))
}

// submit submits a spec whose files lie in dir, and follows the job if that is asked for.
func (a *app) submit(ctx context.Context, c *client.Client, s *tandemv1.JobSpec, dir string, o submitOptions) (*tandemv1.Job, error) {
	if err := a.uploadModel(ctx, c, s, dir); err != nil {
		return nil, err
	}
	res, err := c.Jobs.SubmitJob(ctx, connect.NewRequest(&tandemv1.SubmitJobRequest{
		Spec: s, RequestId: a.newRequestID(), DryRun: o.dryRun,
	}))
	if err != nil {
		return nil, err
	}
	j := res.Msg.GetJob()
	for _, note := range res.Msg.GetNotes() {
		a.say("%s", note)
	}
	if o.dryRun {
		a.say("The spec is fine. Nothing was submitted.")
		return j, a.showAs(func() ([]byte, error) { return encodeJSON(j.GetSpec()) }, describeSpec(j))
	}
	if !o.wait {
		return j, a.show(res.Msg, text(j.GetId()+" submitted; follow it with `tandem wait "+j.GetId()+"`"))
	}
	o.submitted = j
	return a.await(ctx, c, j.GetId(), o)
}

// uploadModel uploads the user's own TorchScript file, if the spec names one, and puts its hash in.
func (a *app) uploadModel(ctx context.Context, c *client.Client, s *tandemv1.JobSpec, dir string) error {
	t := s.GetModel().GetTorchscript()
	if t.GetFile() == "" {
		return nil
	}
	if t.GetArtifact() != "" {
		return &usageError{fmt.Errorf("model.torchscript: file and artifact exclude each other: keep one")}
	}
	f, err := openBeside(dir, t.GetFile())
	if err != nil {
		return &usageError{fmt.Errorf("model.torchscript.file: %w", err)}
	}
	defer f.Close()
	artifact, err := a.upload(ctx, c, upload{file: f})
	if err != nil {
		return err
	}
	t.Artifact, t.File = artifact, ""
	return nil
}

// openBeside opens a file that a spec names, which must lie in the folder of the spec or below it, links followed: whoever wrote the spec
// may not take any other file of whoever submits it.
func openBeside(dir, given string) (*os.File, error) {
	name := given
	whole, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if filepath.IsAbs(name) {
		if name, err = filepath.Rel(whole, name); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(whole)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(name)
	why := err
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		why = at.Err // without the system call and the path as that saw it
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w (the path is relative to the spec)", given, why)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %w", given, why)
	case err != nil: // the path leaves the folder, or a link does
		return nil, fmt.Errorf("%s must lie in the folder of the spec (%s) or below it, links included: copy it there", given, dir)
	case !info.Mode().IsRegular() || info.Size() == 0:
		return nil, fmt.Errorf("%s is empty, or not a regular file", given)
	}
	return root.Open(name)
}
