package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
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
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
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
	work.Flags().StringVar(&config.Socket, "socket", "", "unix socket of the agent")
	work.Flags().StringVar(&config.EngineID, "engine", "", "id of the task")
	for _, name := range []string{"socket", "engine"} {
		if err := work.MarkFlagRequired(name); err != nil {
			log.Error().Err(err).Msg("bad flag")
			return exitUsage
		}
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
