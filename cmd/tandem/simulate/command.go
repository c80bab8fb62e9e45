package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/scheduler/sim"
)

// maxTrace is the size of the largest trace, in bytes.
const maxTrace = 64 << 20

// Shell is what the command needs of the program around it.
type Shell struct {
	// Run makes a command's function.
	Run func(func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error
	// Read reads a file, at most limit bytes; - is standard input.
	Read func(path string, limit int64) ([]byte, error)
	// Columns of the screen, and whether all is to be shown.
	Columns func() int
	Wide    func() bool
	// Show writes an answer: v for programs, facts, tables and a picture for people.
	Show func(v any, facts [][2]string, tables []Table, picture string) error
}

// Table has a header and rows, all of as many cells.
type Table struct {
	Header []string
	Rows   [][]string
}

// options are the flags.
type options struct {
	cfg    sim.Config
	policy string
	shape  sim.Shape
	kind   string
	seed   uint64
}

// ofShape are the flags that only --generate has a use for, ofRun those that it has none for.
var (
	ofShape = []string{"nodes", "slots", "jobs", "load", "seed", "elastic", "failures", "urgent", "users"}
	ofRun   = []string{"policy", "rigid", "no-backfill", "no-preemption", "start", "checkpoint", "guaranteed", "overstate", "output"}
)

// Command is the command.
func (s Shell) Command() *cobra.Command {
	o := &options{cfg: sim.DefaultConfig()}
	cmd := &cobra.Command{
		Use:   "sim TRACE | --generate SHAPE",
		Short: "Run a trace of jobs through the scheduler in virtual time, to try a policy before it is used",
		Long: `Run a trace of jobs through the scheduler in virtual time: what would have become of them on such a cluster? It needs no cluster
and takes seconds. The decisions are those of the coordinator's own scheduler; --policy fifo (a plain queue by priority and age) and
--policy slurm (conservative backfill with the time limits that users give) are there to compare with. Both take jobs as rigid.

A trace is text, a line each; - reads it from standard input:

  node NAME slots=8 [pool=default]
  job NAME at=DURATION slots=N work=DURATION [min=N] [priority=N] [user=NAME] [project=NAME] [limit=DURATION] [pool=default]
  fail NODE at=DURATION for=DURATION

at is when it happens, from the beginning of the trace; work how long a job takes with all its slots (with fewer, as much longer); min
with how few it can do; limit how long its user says that it takes (slurm only; without it, its user knows). Lines with # are comments.

The answer has the times that jobs waited and took, the part of the slots' time in which they got work done that lasted, the
slot-hours of work that was done again or in vain, Jain's index of fairness over the users (1: all got the same), the slowdown of
jobs (how many times as long as their work they took) by the slots that they want, and a picture. -o wide has a line for each job.

--generate prints a trace in a shape: heavy-tailed (most jobs are small and short, few are most of the work) or philly (like the
published trace of a cluster of Microsoft's). With the same --seed it is the same.`,
		Example: `  tandem sim trace.txt
  tandem sim trace.txt --policy slurm --overstate 3
  tandem sim trace.txt --rigid -o wide
  tandem sim --generate philly --nodes 16 --slots 8 --jobs 2000 --load 0.9 --seed 7 > trace.txt
  tandem sim --generate heavy-tailed | tandem sim -`,
		Args: o.arguments,
	}
	cmd.RunE = s.Run(func(ctx context.Context, args []string) error {
		if len(args) == 0 {
			return o.generate(cmd.OutOrStdout())
		}
		return s.run(ctx, args[0], o)
	})
	o.flags(cmd)
	return cmd
}

func (o *options) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.policy, "policy", string(o.cfg.Policy), "who decides: "+list(sim.Policies()))
	f.BoolVar(&o.cfg.Rigid, "rigid", false, "jobs keep the slots that they want, and cannot do with fewer")
	f.BoolVar(&o.cfg.NoBackfill, "no-backfill", false, "no job passes another that waits for more slots")
	f.BoolVar(&o.cfg.NoPreemption, "no-preemption", false, "no job is parked for one of a higher priority")
	quantity.Flag(f, &o.cfg.Start, "start", o.cfg.Start, 0, 24*time.Hour, "how long a job takes to begin once it has its slots")
	quantity.Flag(f, &o.cfg.Checkpoint, "checkpoint", o.cfg.Checkpoint, time.Second, 1000*time.Hour,
		"time between two checkpoints of a job")
	quantity.Flag(f, &o.cfg.Guaranteed, "guaranteed", o.cfg.Guaranteed, 0, 1000*time.Hour,
		"how long a job has its slots before it is parked for a higher priority")
	quantity.Flag(f, &o.cfg.Overstate, "overstate", o.cfg.Overstate, 1, 1000,
		"with --policy slurm: users give limits so many times as long")

	f.StringVar(&o.kind, "generate", "", "print a trace of this shape instead: "+list(sim.Kinds()))
	quantity.Flag(f, &o.shape.Nodes, "nodes", 16, 1, 10_000, "with --generate: nodes")
	quantity.Flag(f, &o.shape.Slots, "slots", 8, 1, 1000, "with --generate: slots of each node")
	quantity.Flag(f, &o.shape.Jobs, "jobs", 1000, 1, 100_000, "with --generate: jobs")
	quantity.Flag(f, &o.shape.Load, "load", 0.9, 0.01, 100, "with --generate: work that arrives, as a part of what the slots can do")
	quantity.Flag(f, &o.seed, "seed", 1, 0, 0, "with --generate: another number makes another trace")
	quantity.Flag(f, &o.shape.Elastic, "elastic", 0.5, 0, 1,
		"with --generate: part of the larger jobs that can do with a quarter of their slots")
	quantity.Flag(f, &o.shape.Failures, "failures", 0.01, 0, 24, "with --generate: how often a node fails in a day; it is away for an hour")
	quantity.Flag(f, &o.shape.Urgent, "urgent", 0.1, 0, 1, "with --generate: part of the jobs that have priority 1")
	quantity.Flag(f, &o.shape.Users, "users", 20, 0, 100_000, "with --generate: users, of whom few have most of the jobs")
	for name, words := range map[string]string{"policy": list(sim.Policies()), "generate": list(sim.Kinds())} {
		known := cobra.FixedCompletions(strings.Split(words, ", "), cobra.ShellCompDirectiveNoFileComp)
		if err := cmd.RegisterFlagCompletionFunc(name, known); err != nil {
			panic(err) // the flag was defined above
		}
	}
}

// arguments checks what was asked for.
func (o *options) arguments(cmd *cobra.Command, args []string) error {
	given := func(names []string) string {
		at := slices.IndexFunc(names, func(name string) bool { f := cmd.Flag(name); return f != nil && f.Changed })
		if at < 0 {
			return ""
		}
		return names[at]
	}
	o.cfg.Policy, o.shape.Kind = sim.Policy(o.policy), sim.Kind(o.kind)
	switch generate := cmd.Flag("generate").Changed; {
	case len(args) > 1:
		return fmt.Errorf("unexpected argument %q", args[1])
	case generate && len(args) > 0:
		return errors.New("give a trace or --generate, not both: print the trace first, and run it then")
	case generate && given(ofRun) != "":
		return fmt.Errorf("--generate only prints a trace, and has no use for --%s: give it to the command that runs the trace",
			given(ofRun))
	case generate:
		return o.shape.Validate()
	case len(args) == 0:
		return errors.New("TRACE is missing; --generate SHAPE makes one")
	case given(ofShape) != "":
		return fmt.Errorf("--%s is the shape of a trace that --generate makes", given(ofShape))
	}
	return o.cfg.Validate()
}

// generate prints a trace.
func (o *options) generate(out io.Writer) error {
	numbers := rand.New(rand.NewPCG(o.seed, 0)) //nolint:gosec // the same each time
	_, err := io.WriteString(out, sim.Generate(o.shape, numbers.Float64).String())
	return err
}

// run runs a trace and shows what became of it.
func (s Shell) run(ctx context.Context, path string, o *options) error {
	text, err := s.Read(path, maxTrace)
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("read the trace: %w", err))
	}
	trace, err := sim.Parse(strings.NewReader(string(text)))
	switch {
	case err != nil:
	case len(trace.Nodes) == 0:
		err = errors.New("it has no nodes: add a line such as `node n1 slots=8`")
	case len(trace.Jobs) == 0:
		err = errors.New("it has no jobs: add a line such as `job j1 at=0s slots=4 work=1h`")
	}
	if err != nil {
		if path == "-" {
			path = "standard input"
		}
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%s: %w", path, err))
	}
	done := make(chan sim.Result, 1)
	go func() { done <- sim.Run(trace, o.cfg) }() // it knows no context: when this one ends, so does the program
	var result sim.Result
	select {
	case <-ctx.Done():
	case result = <-done:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r := report(trace, o.cfg, result)
	tables := []Table{r.classes()}
	if s.Wide() {
		tables = append(tables, r.jobs())
	}
	picture := result.Picture(max(20, min(s.Columns(), 200)))
	if picture != "" {
		picture = "\n" + strings.TrimSuffix(picture, "\n")
	}
	return s.Show(r, r.facts(), tables, picture)
}

// list is names with commas between.
func list[T ~string](names []T) string {
	var words []string
	for _, n := range names {
		words = append(words, string(n))
	}
	return strings.Join(words, ", ")
}
