package main

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/input"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) storeRotateCommand() *cobra.Command {
	req := &tandemv1.SetStorageRequest{}
	var secretFile, caFile string
	var tls bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Change the keys or the address of the object store while everything runs",
		Long: `Change the keys or the address of the object store while everything runs. All coordinators that are alive try the store so
before anything is changed. The keys come from the environment (TANDEM_STORAGE_ACCESS_KEY, TANDEM_STORAGE_SECRET_KEY) or
--access-key and --secret-key-file. Bucket and prefix stay: the objects are not moved. What runs goes over to the new keys as
soon as its worker hears of them, within seconds; then delete the old ones at the store.`,
		Example: `  tandem store rotate --access-key AKIA... --secret-key-file new-secret
  tandem store rotate --endpoint s3-2.internal:9000 --ca-file ca.pem`,
		Args: want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			if req.GetAccessKey() == "" {
				req.AccessKey = a.getenv("TANDEM_STORAGE_ACCESS_KEY")
			}
			var err error
			if req.SecretKey, err = a.secret(secretFile, "TANDEM_STORAGE_SECRET_KEY"); err != nil {
				return err
			}
			if caFile != "" {
				pem, err := input.File(caFile, input.Secrets)
				if err != nil {
					return &usageError{fmt.Errorf("read the CA of the store: %w", err)}
				}
				req.CaPem = string(pem)
			}
			if tls {
				req.Tls = &tls
			}
			req.RequestId = a.newRequestID()
			res, err := c.Cluster.SetStorage(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			return a.show(res.Msg, text("the store is reached so from now on, by what runs too"))
		}),
	}
	f := cmd.Flags()
	f.StringVar(&req.AccessKey, "access-key", "", "access key of the store")
	f.StringVar(&secretFile, "secret-key-file", "", "file with the secret key of the store")
	f.StringVar(&req.Endpoint, "endpoint", "", "host:port of the store, if it has moved")
	f.StringVar(&req.Region, "region", "", "region, if it is another one")
	f.BoolVar(&tls, "tls", false, "speak TLS to the store from now on")
	f.StringVar(&caFile, "ca-file", "", "PEM file with the CA of the store's certificate")
	return cmd
}
