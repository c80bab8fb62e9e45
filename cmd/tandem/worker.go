package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/worker/agent"
)

func (a *app) workerCommand() *cobra.Command {
	cfg := agent.DefaultConfig()
	cfg.Version = version()
	var logs logOptions
	var tokenFile string
	var cacheMiB, logMiB int64
	var confine sandboxOptions
	cmd := &cobra.Command{
		Use:   "worker --data-dir FOLDER --join HOST:PORT --token-file FILE",
		Short: "Run the agent of this machine: it trains and serves what the cluster places here",
		Long: `Run the agent of this machine. At its first start it joins the cluster with a token of
"tandem token create --join --role worker" (--token-file, or TANDEM_JOIN_TOKEN in the environment); later starts use the
certificate in the data folder. Training and serving happen in tandem-engine, which is looked for beside this program.`,
		Example: "  tandem worker --data-dir /var/lib/tandem --join 10.0.0.1:7070 --token-file token --listen 10.0.0.5:7080 --gossip 10.0.0.5:7081",
		Args:    want(),
		RunE: a.run(func(ctx context.Context, _ []string) error {
			log, err := a.logger(logs)
			if err != nil {
				return err
			}
			if cfg.JoinToken, err = a.secret(tokenFile, "TANDEM_JOIN_TOKEN"); err != nil {
				return err
			}
			cfg.DataCache, cfg.LogBudget = cacheMiB<<20, logMiB<<20
			if err := confine.apply(&cfg); err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return &usageError{err}
			}
			w, err := agent.New(cfg, agent.Deps{Log: log})
			if err != nil {
				return err
			}
			return w.Run(ctx)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&cfg.DataDir, "data-dir", "", "folder of this agent: keys, logs, scratch space")
	f.StringVar(&cfg.Listen, "listen", cfg.Listen, "host:port of the agent's HTTPS server; port 0 picks a free one")
	f.StringVar(&cfg.AdvertiseHost, "advertise", "", "host others reach this machine by; by default that of --listen")
	f.StringVar(&cfg.GossipListen, "gossip", cfg.GossipListen, "host:port of gossip, UDP and TCP; port 0 picks a free one")
	f.StringVar(&cfg.Name, "name", "", "name for people; by default that of the machine")
	f.StringVar(&cfg.Pool, "pool", cfg.Pool, "pool the machine belongs to")
	f.StringSliceVar(&cfg.Join, "join", nil, "host:port of coordinators")
	f.StringVar(&tokenFile, "token-file", "", "file with the join token")
	f.StringVar(&cfg.EngineBinary, "engine", "", "path of tandem-engine; by default beside this program, else on the PATH")
	quantity.Flag(f, &cfg.Slots, "slots", 0, 0, agent.MaxSlots, "CPU slots to offer; 0: one for each GPU, or one CPU slot if there is none")
	quantity.Flag(f, &cfg.Cores, "cores", 0, 0, 0, "CPU cores that the slots share; 0: all of the machine")
	engineEnvFlag(f, &cfg.EngineEnv)
	f.BoolVar(&cfg.PlainDataPlane, "plain-data-plane", false, "let ranks of different hosts exchange values in clear, on a network that is trusted; all workers or none")
	confine.flags(f)
	quantity.Flag(f, &cfg.EngineIdle, "engine-idle", cfg.EngineIdle, 0, 0,
		"how long an engine that is done waits for the next trial of its sweep, which saves that one's start; 0s: not at all")
	quantity.Flag(f, &cacheMiB, "data-cache-mib", cfg.DataCache>>20, 0, quantity.MaxMiB,
		"MiB of the data folder that shards of datasets may take; 0: none, rows are read from the store")
	quantity.Flag(f, &logMiB, "log-budget-mib", cfg.LogBudget>>20, agent.MinLogBudget>>20, quantity.MaxMiB,
		"MiB that the log of one task may take in the store; of a longer one the beginning and the newest lines stay")
	quantity.Flag(f, &cfg.InferDeadline, "infer-deadline", cfg.InferDeadline, time.Millisecond, 0,
		"time that a replica may compute one inference request; one that takes longer gets a 504, and the replica is started again")
	quantity.Flag(f, &cfg.KillGrace, "kill-grace", cfg.KillGrace, time.Millisecond, 0, "time an engine has to end by itself")
	logs.flags(f)
	must(cmd.MarkFlagRequired("data-dir"))
	return cmd
}

// engineEnvFlag is the flag that adds to the environment of engines.
func engineEnvFlag(f *pflag.FlagSet, into *[]string) {
	f.StringArrayVar(into, "engine-env", nil, "NAME=VALUE for the environment of engines, such as NCCL_SOCKET_IFNAME=eth1; may be given several times")
}
