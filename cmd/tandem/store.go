package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"tandem.dev/storage/embedded"
)

// storeCommand changes how the cluster reaches its store. By itself it is the embedded S3 server as a process of its own, for up, with its
// keys in the environment.
func (a *app) storeCommand() *cobra.Command {
	var cfg embedded.Config
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Change how the cluster reaches its object store",
		Args:  want(),
		RunE: a.run(func(ctx context.Context, _ []string) error {
			var err error
			cfg.AccessKey = a.getenv("TANDEM_STORE_ACCESS_KEY")
			if cfg.SecretKey, err = a.secret("", "TANDEM_STORE_SECRET_KEY"); err != nil {
				return err
			}
			if cfg.AccessKey == "" || len(cfg.SecretKey) < 16 {
				return &usageError{errors.New("the keys of the store come from the environment: set TANDEM_STORE_ACCESS_KEY, and TANDEM_STORE_SECRET_KEY with 16 characters or more")}
			}
			s, err := embedded.New(cfg)
			if err != nil {
				return err
			}
			return s.Run(ctx)
		}),
	}
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "folder of the objects")
	cmd.Flags().StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "host:port, on loopback")
	must(cmd.MarkFlagRequired("dir"))
	for _, name := range []string{"dir", "listen"} {
		must(cmd.Flags().MarkHidden(name))
	}
	cmd.AddCommand(a.storeRotateCommand())
	return cmd
}
