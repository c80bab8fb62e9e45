package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/input"
	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/coordinator"
	"tandem.dev/coordinator/door"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// coordinatorOptions are the flags of coordinator that are not in its Config.
type coordinatorOptions struct {
	join      []string
	tokenFile string
	context   string
	secretKey string // file
	storageCA string // file
	heldMiB   int64  // of one token
	allMiB    int64  // of all of them
	logs      logOptions
}

func (a *app) coordinatorCommand() *cobra.Command {
	cfg := coordinator.DefaultConfig()
	cfg.Version, cfg.Storage = version(), &tandemv1.StorageConfig{}
	var o coordinatorOptions
	cmd := &cobra.Command{
		Use:   "coordinator --data-dir FOLDER",
		Short: "Run a coordinator: one, three or five of them lead a cluster",
		Long: `Run a coordinator. The first start on an empty folder founds a cluster: name the S3-compatible store for its objects, and
a context to write for the administrator. The keys of the store come from the environment (TANDEM_STORAGE_ACCESS_KEY,
TANDEM_STORAGE_SECRET_KEY) or --storage-secret-key-file.

With --join the first start joins a cluster with a token of "tandem token create --join --role coordinator" (--token-file,
or TANDEM_JOIN_TOKEN). Later starts need none of this; the store is fixed when the cluster is founded.`,
		Example: `  tandem coordinator --data-dir /var/lib/tandem --listen 10.0.0.1:7070 --gossip 10.0.0.1:7071 \
    --storage-endpoint s3.example.com --storage-tls --storage-bucket tandem --write-context prod
  tandem coordinator --data-dir /var/lib/tandem --listen 10.0.0.2:7070 --gossip 10.0.0.2:7071 \
    --join 10.0.0.1:7070 --token-file token`,
		Args: want(),
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.coordinate(ctx, cfg, o) }),
	}
	f := cmd.Flags()
	f.StringVar(&cfg.DataDir, "data-dir", "", "folder of this coordinator: keys, log, snapshots")
	f.StringVar(&cfg.Listen, "listen", cfg.Listen, "host:port of the one TLS port")
	f.StringVar(&cfg.Advertise, "advertise", "", "host or host:port others reach it by; by default that of --listen")
	f.StringVar(&cfg.GossipListen, "gossip", cfg.GossipListen, "host:port of gossip, UDP and TCP")
	f.StringVar(&cfg.GossipAdvertise, "gossip-advertise", "", "host or host:port others gossip with; by default that of --gossip")
	f.StringSliceVar(&cfg.Hosts, "host", nil, "more names and addresses for the certificate")
	quantity.Flag(f, &cfg.Heartbeat, "heartbeat", cfg.Heartbeat, 10*time.Millisecond, 0,
		"how long a follower waits for its leader; 250ms on a fast network")
	quantity.Flag(f, &cfg.NodeTimeout, "node-timeout", cfg.NodeTimeout, time.Second, 0, "how long nothing may be heard of a node before it is lost")
	limitFlags(f, &cfg.Limits, &o)
	f.StringSliceVar(&o.join, "join", nil, "host:port of coordinators of the cluster to join")
	f.StringVar(&o.tokenFile, "token-file", "", "file with the join token")
	f.StringVar(&o.context, "write-context", "", "write a context of this name for the administrator; only where the cluster was founded")
	f.StringVar(&cfg.Storage.Endpoint, "storage-endpoint", "", "host:port of the S3-compatible store, for a new cluster")
	f.StringVar(&cfg.Storage.Bucket, "storage-bucket", "tandem", "bucket; it must be there")
	f.StringVar(&cfg.Storage.Prefix, "storage-prefix", "", "prefix of all keys in the bucket")
	f.StringVar(&cfg.Storage.Region, "storage-region", "us-east-1", "region")
	f.BoolVar(&cfg.Storage.Tls, "storage-tls", false, "speak TLS to the store")
	f.StringVar(&o.storageCA, "storage-ca-file", "", "PEM file with the CA of the store's certificate; by default the system's")
	f.StringVar(&o.secretKey, "storage-secret-key-file", "", "file with the secret key of the store")
	o.logs.flags(f)
	must(cmd.MarkFlagRequired("data-dir"))
	cmd.AddCommand(a.quarantineCommand())
	return cmd
}

func (a *app) quarantineCommand() *cobra.Command {
	var dir, sha256 string
	var index uint64
	cmd := &cobra.Command{
		Use:   "quarantine --data-dir FOLDER --index N --sha256 HASH",
		Short: "Have a stopped coordinator skip an entry of the log that no coordinator can apply",
		Long: `Have a coordinator skip one entry of the log, for when all coordinators end at it, each time they are started. The message
with which they end names index and hash. Stop all coordinators, run this on each of them with its own data folder, and
start them again. An entry that this version can apply is refused.`,
		Example: "  tandem coordinator quarantine --data-dir /var/lib/tandem --index 3655 --sha256 9f86d0...",
		Args:    want(),
		RunE: a.run(func(context.Context, []string) error {
			log, err := a.logger(logOptions{level: "warn", format: "text"})
			if err != nil {
				return err
			}
			kept, err := coordinator.Quarantine(dir, index, sha256, log)
			if err != nil {
				return err
			}
			a.say("Entry %d is skipped from now on; its bytes are kept in %s. Do the same on the other coordinators, then start them.", index, kept)
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVar(&dir, "data-dir", "", "folder of the coordinator")
	quantity.Flag(f, &index, "index", 0, 1, 0, "index of the entry")
	f.StringVar(&sha256, "sha256", "", "SHA-256 of the entry's bytes, in hexadecimal")
	for _, name := range []string{"data-dir", "index", "sha256"} {
		must(cmd.MarkFlagRequired(name))
	}
	return cmd
}

// limitFlags are the limits of what is served, docs/operations.md.
func limitFlags(f *pflag.FlagSet, l *door.Limits, o *coordinatorOptions) {
	quantity.Flag(f, &l.Connections, "max-connections", l.Connections, 16, 0, "connections open at once")
	quantity.Flag(f, &l.PerAddress, "max-connections-per-address", l.PerAddress, 0, 0,
		"connections open at once from one address; 0: no limit of its own, for a coordinator behind a proxy")
	quantity.Flag(f, &l.Rate, "token-rate", l.Rate, 0.001, 0, "calls a second of one token on average; a node four times as many")
	quantity.Flag(f, &l.Burst, "token-burst", l.Burst, 1, 0, "calls of one token at once before the rate counts")
	quantity.Flag(f, &l.Calls, "token-calls", l.Calls, 1, 0, "calls of one token served at once; more wait for their turn")
	quantity.Flag(f, &l.Streams, "token-streams", l.Streams, 1, 0, "streams, uploads and inference requests of one token open at once")
	quantity.Flag(f, &o.heldMiB, "token-held-mib", l.Held>>20, 1, quantity.MaxMiB, "MiB of requests of one token held in memory at once")
	quantity.Flag(f, &o.allMiB, "max-held-mib", l.HeldAll>>20, 1, quantity.MaxMiB, "MiB of requests of all tokens and nodes held in memory at once")
}

func (a *app) coordinate(ctx context.Context, cfg coordinator.Config, o coordinatorOptions) error {
	log, err := a.logger(o.logs)
	if err != nil {
		return err
	}
	if err := a.storageSecrets(cfg.Storage, o); err != nil {
		return err
	}
	cfg.Limits.Held, cfg.Limits.HeldAll = o.heldMiB<<20, o.allMiB<<20
	if err := cfg.Validate(); err != nil {
		return &usageError{err}
	}
	go door.KeepMemory(ctx)
	if len(o.join) > 0 {
		// A folder that has joined already needs no token: a service can keep its command line.
		joined, err := cfg.Joined()
		if err != nil {
			return err
		}
		if !joined {
			token, err := a.secret(o.tokenFile, "TANDEM_JOIN_TOKEN")
			if err != nil {
				return err
			}
			if token == "" {
				return &usageError{errors.New("joining needs a token: --token-file FILE, or TANDEM_JOIN_TOKEN")}
			}
			if err := coordinator.Join(ctx, cfg, token, o.join); err != nil {
				return err
			}
		}
	}
	c, err := coordinator.New(cfg, coordinator.Deps{Log: log})
	if err != nil {
		return err
	}
	if err := a.writeContext(o.context, c); err != nil {
		return err
	}
	return c.Run(ctx)
}

// storageSecrets completes how to reach the store with what is not for the command line.
func (a *app) storageSecrets(s *tandemv1.StorageConfig, o coordinatorOptions) (err error) {
	s.AccessKey = a.getenv("TANDEM_STORAGE_ACCESS_KEY")
	if s.SecretKey, err = a.secret(o.secretKey, "TANDEM_STORAGE_SECRET_KEY"); err != nil {
		return err
	}
	if o.storageCA != "" {
		pem, err := input.File(o.storageCA, input.Secrets)
		if err != nil {
			return &usageError{fmt.Errorf("read the CA of the store: %w", err)}
		}
		s.CaPem = string(pem)
	}
	return nil
}

// writeContext writes the administrator's context, so that the first command just works.
func (a *app) writeContext(name string, c *coordinator.Coordinator) error {
	if name == "" {
		return nil
	}
	if c.AdminToken() == "" {
		return &usageError{errors.New("--write-context: this coordinator did not found its cluster and has no token to write: make one with `tandem token create` where there is a context, and leave the flag out")}
	}
	file, err := a.contexts()
	if err != nil {
		return err
	}
	file.Put(client.Context{Name: name, Endpoints: []string{c.Address()}, CA: string(c.CAPEM()), Token: c.AdminToken()})
	if err := file.Save(); err != nil {
		return err
	}
	a.say("Context %s is written to %s; for other commands: tandem --context %s ...", name, file.Path(), strings.TrimSpace(name))
	return nil
}
