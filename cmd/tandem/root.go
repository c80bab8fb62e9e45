package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/input"
	"tandem.dev/cmd/tandem/printable"
	"tandem.dev/cmd/tandem/project"
	"tandem.dev/cmd/tandem/queue"
	"tandem.dev/cmd/tandem/simulate"
)

// app is what all commands share.
type app struct {
	name     string // as it was called, for commands to copy
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	terminal bool       // standard output is a terminal
	screen   func() int // how many columns it has now; nil or 0: not known
	asks     bool       // somebody can answer a question
	patience client.Patience

	context string // --context
	project string // --project
	output  string // --output
	yes     bool   // --yes

	requestID string // --request-id
	requests  int    // that were named

	documents int  // of YAML, that were written
	started   bool // a command has begun: what fails from now on is not a mistake of usage
}

// read reads a file that the user names, at most limit bytes; - is standard input.
func (a *app) read(path string, limit int64) ([]byte, error) {
	if path == "-" {
		return input.Read(a.in, "standard input", limit)
	}
	return input.File(path, limit)
}

// execute runs one command line and returns its exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	a.out = &checked{Writer: a.out}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	addCompletion(root)
	cmd, err := root.ExecuteContextC(ctx)
	if bad := a.written(); bad != nil && (err == nil || errors.Is(err, bad)) { // help and the like do not look
		a.started, err = true, bad
	}
	if err == nil {
		return exitOK
	}
	if !a.started {
		err = &usageError{err}
	}
	code := exitCode(err)
	var silent *silentError
	switch {
	case errors.As(err, &silent):
	case code == exitInterrupted:
		fmt.Fprintln(a.err, "tandem: interrupted")
	default:
		fmt.Fprintf(a.err, "tandem: %s\n", printable.Text(client.Message(err)))
		if code == exitUsage && !a.started {
			fmt.Fprintf(a.err, "See '%s --help'.\n", cmd.CommandPath())
		}
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tandem",
		Short: "Train neural networks on a cluster of machines and serve the results",
		Long: `Tandem trains neural networks on a cluster of machines and serves the results from the same machines.

Start here:
  tandem up                 a whole cluster on this machine
  tandem up --demo          the same, with one job from data to prediction, and away again
  tandem submit -f job.yaml --wait`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("tandem {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVar(&a.context, "context", "", "cluster to talk to, by its name in the contexts file")
	flags.StringVar(&a.project, "project", "", "project to work in; '*' shows those of all that the token gives access to")
	flags.StringVarP(&a.output, "output", "o", "table", "form of the output: table, wide, json or yaml")
	flags.BoolVarP(&a.yes, "yes", "y", false, "do not ask before something is taken away")
	flags.StringVar(&a.requestID, "request-id", "", "name of what this command changes: run again with the same one within a day, it changes nothing more")
	must(root.RegisterFlagCompletionFunc("output", func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return outputsOf(cmd), cobra.ShellCompDirectiveNoFileComp
	}))
	must(root.RegisterFlagCompletionFunc("context", a.completeContexts))
	must(root.RegisterFlagCompletionFunc("project", a.complete(project.Names)))
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return cmp.Or(a.checkOutput(cmd), missingFlag(cmd)) }

	inQueue := queue.Shell{
		Call: a.call, Want: want, Jobs: a.complete(jobNames), SetFlag: setFlag, Load: a.loadWithFiles, RequestID: a.newRequestID,
		Show: func(m proto.Message, s string) error { return a.show(m, text(s)) },
	}
	inVirtual := simulate.Shell{
		Run: a.run, Read: a.read, Columns: a.columns, Wide: func() bool { return a.output == "wide" },
		Show: func(v any, facts [][2]string, tables []simulate.Table, picture string) error {
			parts := []part{fields(facts)}
			for _, t := range tables {
				parts = append(parts, text(""), grid{header: t.Header, rows: t.Rows})
			}
			return a.showValue(v, append(parts, text(picture))...)
		},
	}
	inProjects := project.Shell{
		Call: a.call, Want: want, Names: a.complete(project.Names), Contexts: a.contexts, Confirm: a.confirm, RequestID: a.newRequestID,
		Show:  func(m proto.Message, s string) error { return a.show(m, text(s)) },
		Facts: func(m proto.Message, facts [][2]string) error { return a.show(m, fields(facts)) },
		List: func(m proto.Message, header []string, rows [][]string) error {
			return a.show(m, grid{header: header, rows: rows})
		},
	}
	groups := []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"cluster", "Run a cluster:", []*cobra.Command{a.upCommand(), a.coordinatorCommand(), a.workerCommand()}},
		{"train", "Train:", []*cobra.Command{
			a.datasetCommand(), a.submitCommand(), inQueue.Plan(), inQueue.Explain(), inQueue.Set(),
			a.forkCommand(), a.listCommand(), a.describeCommand(), a.waitCommand(), a.logsCommand(),
			a.metricsCommand(), a.traceCommand(), a.sweepCommand(), a.pauseCommand(), a.resumeCommand(), a.cancelCommand(), a.deleteCommand(), a.pruneCommand(), a.scaleCommand(), a.checkpointCommand(),
		}},
		{"serve", "Publish and serve:", []*cobra.Command{a.modelCommand(), a.serveCommand(), a.predictCommand()}},
		{"operate", "Operate:", []*cobra.Command{
			a.clusterCommand(),
			group("node", "Show and steer the machines that train and serve", a.nodes().Commands()...),
			group("pool", "Show and steer pools of nodes", a.nodes().PoolCommands()...),
			a.eventsCommand(), a.auditCommand(), a.tokenCommand(),
			group("project", "Make, show and choose projects", inProjects.Commands()...), a.storeCommand(), a.contextCommand(), a.apiCommand(), inVirtual.Command(),
		}},
	}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.AddCommand(a.versionCommand(), exitCodesTopic())
	once(root)
	return root
}

// run makes a command's function: what it gets is the command line, already checked for form.
func (a *app) run(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		return f(cmd.Context(), args)
	}
}

// call makes a command's function that needs the cluster.
func (a *app) call(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		defer a.remember(c)
		return c.Explain(f(ctx, c, args))
	})
}

// client reaches the cluster that is meant: --context, else the environment, else the current context.
func (a *app) client() (*client.Client, error) {
	c, err := a.clusterContext()
	if err != nil {
		return nil, err
	}
	c.Project = project.In(a.project, a.getenv, c)
	api, err := client.New(c, a.patience, "tandem/"+version())
	if err != nil {
		return nil, err
	}
	api.Learn()
	return api, nil
}

// remember keeps the coordinators that the cluster named in the contexts file, for the day when those of the context are
// gone. It is not an error when that cannot be: the next command tries again.
func (a *app) remember(c *client.Client) {
	now, news := c.Learned()
	path, err := client.Path(a.getenv)
	if !news || err != nil || now.Name == client.Environment {
		return
	}
	_ = client.Remember(path, now)
}

func (a *app) clusterContext() (client.Context, error) {
	if a.context == "" {
		if c, ok, err := client.FromEnv(a.getenv); ok {
			return c, err
		}
	}
	file, err := a.contexts()
	if err != nil {
		return client.Context{}, err
	}
	return file.Get(a.context)
}

func (a *app) contexts() (*client.File, error) {
	path, err := client.Path(a.getenv)
	if err != nil {
		return nil, err
	}
	return client.Load(path)
}

// say talks to the person, not to the pipe.
func (a *app) say(format string, args ...any) {
	fmt.Fprintln(a.err, printable.Text(fmt.Sprintf(format, args...)))
}

// confirm asks before something is taken away.
func (a *app) confirm(question string) error {
	if a.yes {
		return nil
	}
	if !a.asks {
		return &usageError{fmt.Errorf("%s Nobody can be asked here: add -y to go on", question)}
	}
	fmt.Fprintf(a.err, "%s [y/N] ", printable.Text(question))
	var answer string
	if _, err := fmt.Fscanln(a.in, &answer); err != nil || !strings.HasPrefix(strings.ToLower(answer), "y") {
		return errors.New("nothing was done")
	}
	return nil
}

// newRequestID names the next request that changes something. With --request-id a command that is run again asks under the same names in
// the same order, and what was done the first time is not done again.
func (a *app) newRequestID() string {
	a.requests++
	switch {
	case a.requestID == "":
		return "req-" + strings.ToLower(ulid.Make().String())
	case a.requests == 1:
		return a.requestID
	}
	return a.requestID + "/" + strconv.Itoa(a.requests)
}

// must is for what only a mistake in this program can break.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
