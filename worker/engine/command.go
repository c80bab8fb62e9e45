package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed = 1 // the failure was reported, or could not be
	exitUsage  = 2
	exitOrphan = 3 // the agent is gone
	// line.ExitUnreadable is 4
)

// Main is the program tandem-engine: it reads the command line, works until there is nothing left to do, and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := zerolog.New(stderr).With().Timestamp().Logger()
	code := exitUsage
	root := &cobra.Command{Use: "tandem-engine", Short: "Does the work of one rank or replica; its agent starts it", SilenceUsage: true, SilenceErrors: true}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	var config Config
	work := &cobra.Command{
		Use: "run", Short: "Get a task from the agent and do it", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			code = exitFailed
			return runEngine(ctx, config, log)
		},
	}
	work.Flags().StringVar(&config.EngineID, "engine", "", "id of the task")
	work.Flags().BoolVar(&config.Seal.Devices, "devices", false, "compute on a device")
	work.Flags().BoolVar(&config.Seal.Unfiltered, "unfiltered", false, "keep all system calls, on a kernel that has no filters for them")
	work.Flags().Int64Var(&config.Seal.Memory, "max-memory", 0, "bytes of memory; 0: no limit")
	work.Flags().Int64Var(&config.Seal.Threads, "max-threads", 0, "threads of the user; 0: no limit")
	work.Flags().Int64Var(&config.Seal.Files, "max-files", 0, "descriptors; 0: no limit")
	if err := work.MarkFlagRequired("engine"); err != nil {
		log.Error().Err(err).Msg("bad flag")
		return exitUsage
	}
	list := &cobra.Command{
		Use: "devices", Short: "Print libtorch's version and devices as JSON", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			code = exitFailed
			d, err := discover()
			if err != nil {
				return err
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(d)
		},
	}
	root.AddCommand(work, list)
	if err := root.ExecuteContext(ctx); err != nil {
		if errors.Is(err, errOrphan) {
			code = exitOrphan
		}
		fmt.Fprintln(stderr, "tandem-engine:", err)
		return code
	}
	return 0
}
