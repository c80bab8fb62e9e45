package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// adminFile is the contexts file of the administrator in a data folder.
const adminFile = "admin/contexts.yaml"

// startStore starts the embedded S3 server and waits until it listens.
func (cl *localCluster) startStore(ctx context.Context) error {
	s := cl.folder.Settings
	err := cl.keep("store",
		[]string{"TANDEM_STORE_ACCESS_KEY=" + s.AccessKey, "TANDEM_STORE_SECRET_KEY=" + s.SecretKey},
		"store", "--dir", cl.folder.Path("objects"), "--listen", s.Store)
	if err != nil {
		return err
	}
	return cl.until(ctx, func(ctx context.Context) bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Store)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// startCoordinator starts the coordinator, which writes the administrator's context at its first start, and waits until
// it leads.
func (cl *localCluster) startCoordinator(ctx context.Context) error {
	s := cl.folder.Settings
	err := cl.keep("coordinator",
		[]string{
			"TANDEM_CONFIG=" + cl.folder.Path(adminFile),
			"TANDEM_STORAGE_ACCESS_KEY=" + s.AccessKey, "TANDEM_STORAGE_SECRET_KEY=" + s.SecretKey,
		},
		"coordinator", "--data-dir", cl.folder.Path("coordinator"), "--listen", s.Listen, "--gossip", s.Gossip,
		"--storage-endpoint", s.Store, "--storage-bucket", "tandem", "--write-context", "local", "--log-format", "json")
	if err != nil {
		return err
	}
	return cl.until(ctx, func(ctx context.Context) bool {
		if !cl.readContext() { // the coordinator writes it anew: the CA may have been replaced
			return false
		}
		api, err := cl.client()
		if err != nil {
			return false
		}
		defer api.Close()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err = api.Jobs.ListJobs(ctx, connect.NewRequest(&tandemv1.ListJobsRequest{Limit: 1}))
		return err == nil
	})
}

// readContext reads the administrator's context, once the coordinator has written it.
func (cl *localCluster) readContext() bool {
	file, err := client.Load(cl.folder.Path(adminFile))
	if err != nil {
		return false
	}
	c, err := file.Get("local")
	if err != nil {
		return false
	}
	c.Endpoints = []string{loopback(cl.folder.Settings.Listen)}
	cl.context = c
	return true
}

func (cl *localCluster) client() (*client.Client, error) {
	return client.New(cl.context, client.Patience{Silent: time.Second, Leading: 5 * time.Second, Pause: 50 * time.Millisecond}, "tandem/"+version())
}

// startWorkers starts the agents and waits until the cluster has them all. New ones get a join token that lives for as
// long as starting may take.
func (cl *localCluster) startWorkers(ctx context.Context, o upOptions) error {
	api, err := cl.client()
	if err != nil {
		return err
	}
	defer api.Close()
	var env []string
	for i := range o.workers {
		if _, err := os.Stat(cl.folder.Path(workerName(i), "pki", "node.pem")); err == nil {
			continue
		}
		res, err := api.Tokens.CreateToken(ctx, connect.NewRequest(&tandemv1.CreateTokenRequest{
			Name: "up-" + strconv.FormatInt(time.Now().UnixNano(), 36), Role: "worker", Join: true, TtlSeconds: 120, Uses: int32(o.workers),
		}))
		if err != nil {
			return fmt.Errorf("make a join token for the workers: %w", err)
		}
		env = []string{"TANDEM_JOIN_TOKEN=" + res.Msg.GetSecret()}
		break
	}
	names := map[string]bool{}
	for i := range o.workers {
		name := workerName(i)
		args := []string{
			"worker", "--data-dir", cl.folder.Path(name), "--name", name, "--join", loopback(cl.folder.Settings.Listen),
			"--slots", strconv.Itoa(o.slots), "--cores", strconv.Itoa(max(1, runtime.NumCPU()/o.workers)), "--log-format", "json",
		}
		if o.engine != "" {
			args = append(args, "--engine", o.engine)
		}
		for _, e := range o.env {
			args = append(args, "--engine-env", e)
		}
		args = append(args, o.confine.args()...)
		names[name] = true
		if err := cl.keep(name, env, args...); err != nil {
			return err
		}
	}
	return cl.until(ctx, func(ctx context.Context) bool {
		alive := 0
		alive, cl.slots = nodes(ctx, api, names)
		return alive == o.workers
	})
}
