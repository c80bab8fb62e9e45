package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"

	"tandem.dev/coordinator"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/memstore"
)

const (
	coordinators = 3
	patience     = time.Minute
)

// cluster is three coordinators in this process, each with its own port and disk, and agents that are played.
type cluster struct {
	all    []*coordinator.Coordinator
	store  storage.Store
	admin  *http.Client
	agents []*agent
	ctx    context.Context
	end    context.CancelFunc
	wg     sync.WaitGroup
}

// startCluster starts the coordinators. The agents are added by addAgents.
func startCluster(ctx context.Context, dir string) (*cluster, error) {
	cl := &cluster{store: memstore.New(memstore.Config{})}
	cl.ctx, cl.end = context.WithCancel(ctx)
	if err := cl.found(dir); err != nil {
		cl.stop()
		return nil, err
	}
	return cl, nil
}

func (cl *cluster) found(dir string) error {
	first, err := cl.start(config(filepath.Join(dir, "0")))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(first.CAPEM())
	cl.admin = &http.Client{Transport: withToken{identity.Transport(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}),
		first.AdminToken()}}
	token, err := cl.token("coordinators", "coordinator")
	if err != nil {
		return err
	}
	for i := 1; i < coordinators; i++ {
		cfg := config(filepath.Join(dir, fmt.Sprint(i)))
		if err := coordinator.Join(cl.ctx, cfg, token, []string{first.Address()}); err != nil {
			return fmt.Errorf("join coordinator %d: %w", i, err)
		}
		if _, err := cl.start(cfg); err != nil {
			return err
		}
	}
	return nil
}

func config(dir string) coordinator.Config {
	cfg := coordinator.DefaultConfig()
	cfg.DataDir, cfg.Listen, cfg.GossipListen = dir, "127.0.0.1:0", "127.0.0.1:0"
	cfg.Storage = &tandemv1.StorageConfig{Endpoint: "memory:1", Bucket: "b"}
	cfg.NodeTimeout = time.Hour // the agents played here do not gossip
	return cfg
}

// start runs a coordinator until the cluster is stopped.
func (cl *cluster) start(cfg coordinator.Config) (*coordinator.Coordinator, error) {
	c, err := coordinator.New(cfg, coordinator.Deps{
		Log: zerolog.Nop(), OpenStore: func(*tandemv1.StorageConfig) (storage.Store, error) { return cl.store, nil },
	})
	if err != nil {
		return nil, fmt.Errorf("make a coordinator: %w", err)
	}
	done := make(chan error, 1)
	cl.wg.Go(func() { done <- c.Run(cl.ctx) })
	select {
	case <-c.Ready():
	case err := <-done:
		return nil, fmt.Errorf("a coordinator ended: %w", err)
	case <-time.After(patience):
		return nil, fmt.Errorf("a coordinator was not ready after %s", patience)
	}
	cl.all = append(cl.all, c)
	return c, nil
}

func (cl *cluster) stop() {
	cl.end()
	cl.wg.Wait()
}

func (cl *cluster) url(i int) string { return "https://" + cl.all[i%len(cl.all)].Address() }

func (cl *cluster) token(name, role string) (string, error) {
	res, err := tandemv1connect.NewTokenServiceClient(cl.admin, cl.url(0)).CreateToken(cl.ctx,
		connect.NewRequest(&tandemv1.CreateTokenRequest{Name: name, Role: role, Join: true, Uses: -1}))
	if err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return res.Msg.GetSecret(), nil
}

// addDataset makes a dataset that the specs can name; nobody reads it.
func (cl *cluster) addDataset(ctx context.Context) error {
	var csv bytes.Buffer
	csv.WriteString("a,b,y\n")
	for i := range 100 {
		fmt.Fprintf(&csv, "%d,%d,%d\n", i, i*i%17, i%2)
	}
	o := dataset.DefaultOptions()
	o.Label = "y"
	datasets, artifacts := tandemv1connect.NewDatasetServiceClient(cl.admin,
		cl.url(0)), tandemv1connect.NewArtifactServiceClient(cl.admin, cl.url(0))
	begun, err := datasets.BeginDataset(ctx, connect.NewRequest(&tandemv1.BeginDatasetRequest{Name: "toy"}))
	if err != nil {
		return fmt.Errorf("begin the dataset: %w", err)
	}
	manifest := ""
	_, _, err = dataset.FromCSV(ctx, &csv, o, func(name string, data []byte) error {
		hash := sha256.Sum256(data)
		manifest = hex.EncodeToString(hash[:]) // the manifest comes last
		s := artifacts.UploadArtifact(ctx)
		header := &tandemv1.UploadArtifactHeader{Size: int64(len(data)), Sha256: manifest, DatasetId: begun.Msg.GetId(), Name: name}
		// What goes wrong with a part is in the answer.
		_ = s.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Header{Header: header}})
		_ = s.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Chunk{Chunk: data}})
		_, err := s.CloseAndReceive()
		return err
	})
	if err != nil {
		return fmt.Errorf("upload the dataset: %w", err)
	}
	_, err = datasets.CreateDataset(ctx, connect.NewRequest(&tandemv1.CreateDatasetRequest{Name: "toy", Id: begun.Msg.GetId(),
		ManifestSha256: manifest}))
	if err != nil {
		return fmt.Errorf("make the dataset: %w", err)
	}
	return nil
}

type withToken struct {
	base  *http.Transport
	token string
}

// RoundTrip implements http.RoundTripper.
func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+w.token)
	return w.base.RoundTrip(r)
}

// submit submits a sweep and returns its id.
func (cl *cluster) submit(ctx context.Context, name string, trials, concurrent int) (string, error) {
	spec := &tandemv1.JobSpec{
		Name: name, Kind: "sweep", Dataset: "toy", Metric: "loss", Mode: "min",
		Model:    &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{4}}}},
		Training: &tandemv1.TrainingSpec{Batch: 8, Epochs: 1},
		Search: &tandemv1.SearchSpec{
			Space:  map[string]*tandemv1.Domain{"training.optimizer.lr": {Log: []float64{1e-4, 1e-1}}},
			Method: &tandemv1.MethodSpec{Name: "random"}, MaxTrials: int32(trials), MaxConcurrentTrials: int32(concurrent), //nolint:gosec // flags
		},
	}
	res, err := tandemv1connect.NewJobServiceClient(cl.admin, cl.url(0)).SubmitJob(ctx,
		connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: spec}))
	if err != nil {
		return "", fmt.Errorf("submit the sweep: %w", err)
	}
	return res.Msg.GetJob().GetId(), nil
}
