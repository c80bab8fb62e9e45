package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/local"
	"tandem.dev/cmd/tandem/printable"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/agent"
	"tandem.dev/worker/child"
)

// upOptions are the flags of up.
type upOptions struct {
	dataDir string
	listen  string
	workers int
	slots   int
	engine  string
	env     []string // of engines
	confine sandboxOptions
	context string
	demo    bool
	demoDir string
}

const (
	defaultListen = "127.0.0.1:7070"
	// startTime is how long a cluster may take to be there.
	startTime = 45 * time.Second
	// stopGrace is how long each process has to end by itself.
	stopGrace = 8 * time.Second
)

func (a *app) upCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a whole cluster on this machine",
		Long: `Run a whole cluster on this machine: a coordinator, workers and an S3 store, on loopback. Ctrl-C stops it; the next
"tandem up" on the same data folder resumes it, jobs and all. The command line is set up to talk to it (context "local").

With --demo everything happens in a temporary folder on free ports: a dataset is made from real images, a small network is
trained on two workers, published, served and asked, and then everything is stopped and removed.`,
		Args: want(),
		RunE: a.run(func(ctx context.Context, _ []string) error {
			ctx, stop := notify(ctx, syscall.SIGHUP)
			defer stop()
			if err := local.CheckListen(o.listen); err != nil {
				return &usageError{err}
			}
			if o.demo {
				o.slots = 1 // so that the two ranks are on two workers
				return a.demo(ctx, o)
			}
			return a.up(ctx, o)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&o.dataDir, "data-dir", "", "folder of the cluster (default ~/.local/share/tandem)")
	f.StringVar(&o.listen, "listen", "", "host:port of the API (default "+defaultListen+"); the next two ports are for gossip and the store")
	quantity.Flag(f, &o.workers, "workers", 2, 0, 64, "worker agents")
	quantity.Flag(f, &o.slots, "slots", 2, 0, agent.MaxSlots, "CPU slots of each worker; 0: one for each GPU")
	f.StringVar(&o.engine, "engine", "", "path of tandem-engine; by default beside this program, else on the PATH")
	engineEnvFlag(f, &o.env)
	o.confine.flags(f)
	f.StringVar(&o.context, "context-name", "local", "name of the context that is written")
	f.BoolVar(&o.demo, "demo", false, "show one job from data to prediction, then stop and remove everything")
	f.StringVar(&o.demoDir, "demo-dir", filepath.Join("examples", "digits"), "folder with digits.csv and job.yaml for --demo")
	return cmd
}

// up runs a cluster until it is interrupted.
func (a *app) up(ctx context.Context, o upOptions) error {
	dir, err := a.dataDir(o.dataDir)
	if err != nil {
		return err
	}
	begun := time.Now()
	cl, err := a.startCluster(ctx, dir, o)
	if err != nil {
		return err
	}
	defer cl.stop()
	file, err := a.contexts()
	if err != nil {
		return err
	}
	entry := cl.context
	entry.Name = o.context
	before := file.Current
	taken, err := file.Get(o.context)
	another := err == nil && taken.CA != entry.CA && taken.Token != entry.Token // the CA of one cluster may be replaced
	file.Put(entry)
	file.Current = o.context
	if err := file.Save(); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "\nThe cluster is up (%s): https://%s, %s with %s, data in %s\n",
		duration(time.Since(begun)), cl.folder.Settings.Listen, several(o.workers, "worker"), several(cl.slots, "slot"), cl.folder.Dir)
	if before != "" && before != o.context {
		fmt.Fprintf(a.out, "Commands go to it from now on (context %s), no more to %s: `%s context use %s` goes back.\n", o.context, before, a.name, before)
	}
	if another {
		fmt.Fprintf(a.out, "Context %s stood for another cluster, at %s, and stands for this one now: --context-name gives each cluster its own.\n",
			o.context, strings.Join(taken.Endpoints, ", "))
	}
	resume := a.name + " up"
	if o.dataDir != "" {
		resume += " --data-dir " + printable.Quoted(o.dataDir)
	}
	fmt.Fprintf(a.out, `
In another terminal:
  %[1]s dataset create digits --from examples/digits/digits.csv --label label --normalize scale:1/16 --shape 1,8,8
  %[1]s submit -f examples/digits/job.yaml --wait
  %[1]s list

Logs are in %[2]s. Ctrl-C stops the cluster; `+"`%[3]s`"+` resumes it.
`, a.name, cl.folder.Path("logs"), resume)
	<-ctx.Done()
	a.say("\nStopping ...")
	return nil
}

func (a *app) dataDir(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	if data := a.getenv("XDG_DATA_HOME"); data != "" {
		return filepath.Join(data, "tandem"), nil
	}
	if home := a.getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "tandem"), nil
	}
	return "", &usageError{errors.New("name the data folder with --data-dir")}
}

// localCluster is a cluster of child processes.
type localCluster struct {
	app     *app
	folder  *local.Folder
	context client.Context
	slots   int

	keeper   *local.Keeper
	end      func() // ends the starter of processes
	self     string
	children []*local.Child // the first of each process
	stages   []func()       // stop what was started, in order of starting

	mu    sync.Mutex // guards what follows
	ready bool       // everything is there
	quiet bool       // it is being stopped
}

// startCluster starts store, coordinator and workers in dir and waits until all are there.
func (a *app) startCluster(ctx context.Context, dir string, o upOptions) (_ *localCluster, err error) {
	folder, err := local.Open(dir, o.listen, defaultListen)
	if err != nil {
		return nil, err
	}
	cl := &localCluster{app: a, folder: folder, end: func() {}}
	defer func() {
		if err != nil {
			cl.stop()
		}
	}()
	if cl.self, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if cl.keeper, err = local.NewKeeper(cl.starter(), folder.Path("logs"), stopGrace, cl.line); err != nil {
		return nil, err
	}
	verb := "Resuming"
	if folder.New {
		verb = "Starting"
	}
	a.say("%s a cluster in %s ...", verb, folder.Dir)
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("the cluster is not up after %s: see the logs in %s", startTime, folder.Path("logs")))
	defer cancel()
	for _, start := range []func() error{
		func() error { return cl.startStore(ctx) },
		func() error { return cl.startCoordinator(ctx) },
		func() error { return cl.startWorkers(ctx, o) },
	} {
		if err := start(); err != nil {
			return nil, explainStart(err, dir)
		}
	}
	cl.mu.Lock()
	cl.ready = true
	cl.mu.Unlock()
	return cl, nil
}

// explainStart says what to do about the usual troubles of processes, which their exit codes tell.
func explainStart(err error, dir string) error {
	switch childCode(err) {
	case exitEngine:
		return fmt.Errorf("the workers need tandem-engine: build it with `make build`, or name it with --engine\n%w", err)
	case exitFull:
		return fmt.Errorf("the disk of %s is full: free some space, or choose another folder with --data-dir\n%w", dir, err)
	case exitRemoved:
		return fmt.Errorf("a process was removed from the cluster: delete its folder in %s, and start again for it to join anew\n%w", dir, err)
	}
	return err
}

// starter runs what starts processes, until stop.
func (cl *localCluster) starter() *child.Starter {
	starter, done := child.NewStarter(), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		_ = starter.Run(ctx) // it has no error but the context's end
	}()
	cl.end = func() {
		cancel()
		<-done
	}
	return starter
}

// keep starts a process and keeps it.
func (cl *localCluster) keep(name string, env []string, args ...string) error {
	ctx, cancel := context.WithCancel(context.Background())
	first, done := make(chan *local.Child, 1), make(chan struct{})
	var failed error // to start the first time; after done
	p := local.Process{Name: name, Path: cl.self, Args: args, Env: append(os.Environ(), env...)}
	go func() {
		defer close(done)
		failed = cl.keeper.Keep(ctx, p, func(c *local.Child) { first <- c }, func(err error, pause time.Duration) bool {
			next, again := cl.afterEnd(name, err, pause)
			cl.mu.Lock()
			defer cl.mu.Unlock()
			if cl.ready && !cl.quiet {
				cl.app.say("%s\n  %s", err, next)
			}
			return again
		})
	}()
	select {
	case c := <-first:
		cl.children = append(cl.children, c)
		cl.stages = append(cl.stages, func() {
			cancel()
			<-done
		})
		return nil
	case <-done:
		cancel()
		return failed
	}
}

// afterEnd says what follows when a process has ended by itself, and whether it is started again.
func (cl *localCluster) afterEnd(name string, err error, pause time.Duration) (next string, again bool) {
	if childCode(err) == exitRemoved {
		return "It is not started again. To have it back, delete " + cl.folder.Path(name) + ": the next start makes it join anew.", false
	}
	return fmt.Sprintf("It is started again in %s.", pause), true
}

// stop ends all processes, the last started first, and lets the folder go.
func (cl *localCluster) stop() {
	cl.mu.Lock()
	cl.quiet = true
	cl.mu.Unlock()
	// Workers end together, then the coordinator, then the store.
	var workers sync.WaitGroup
	for i := len(cl.stages) - 1; i > 1; i-- {
		workers.Go(cl.stages[i])
	}
	workers.Wait()
	for i := min(1, len(cl.stages)-1); i >= 0; i-- {
		cl.stages[i]()
	}
	cl.stages = nil
	cl.end()
	cl.folder.Close()
}

// until asks again and again whether something is ready; it ends when it is, when any child has ended, or with ctx.
func (cl *localCluster) until(ctx context.Context, ready func(context.Context) bool) error {
	for !ready(ctx) {
		for _, c := range cl.children {
			select {
			case <-c.Done():
				return c.Err()
			default:
			}
		}
		if client.Sleep(ctx, 30*time.Millisecond) != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// line shows the warnings of children; everything is in the logs.
func (cl *localCluster) line(name string, line []byte) {
	cl.mu.Lock()
	show := cl.ready && !cl.quiet
	cl.mu.Unlock()
	if !show {
		return
	}
	var l struct {
		Level   string `json:"level"`
		Message string `json:"message"`
		Error   string `json:"error"`
		Err     string `json:"err"`
	}
	if json.Unmarshal(line, &l) != nil || l.Level != "warn" && l.Level != "error" && l.Level != "fatal" {
		return
	}
	text := l.Message
	if why := l.Error + l.Err; why != "" {
		text += ": " + why
	}
	cl.app.say("%s: %s", name, short(text, 200))
}

// nodes counts the nodes that are alive and their slots.
func nodes(ctx context.Context, c *client.Client, names map[string]bool) (alive, slots int) {
	res, err := c.Nodes.ListNodes(ctx, connect.NewRequest(&tandemv1.ListNodesRequest{}))
	if err != nil {
		return 0, 0
	}
	for _, u := range res.Msg.GetNodes() {
		if n := u.GetNode(); n.GetState() == tandemv1.NodeState_NODE_STATE_ALIVE && names[n.GetName()] {
			alive++
			slots += len(n.GetSlots())
		}
	}
	return alive, slots
}

func workerName(i int) string { return fmt.Sprintf("worker-%d", i+1) }

func loopback(address string) string {
	for _, wildcard := range []string{"0.0.0.0:", "[::]:", ":"} {
		if port, ok := strings.CutPrefix(address, wildcard); ok {
			return "127.0.0.1:" + port
		}
	}
	return address
}
