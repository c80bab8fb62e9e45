package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/embedded"
	"tandem.dev/storage/s3"
)

// cluster is coordinators and agents as processes, and the S3 server in this one.
type cluster struct {
	t            *testing.T
	dir          string
	contexts     string
	coordinators []*process
	addresses    []string // of the coordinators
	workers      []*process
	env          []string // of the engines
	network      *network // the workers are hosts of it; nil: all are on loopback
	store        storage.Store
	storeAddress string
	keyring      *keyring // of the store, but for those of the test itself
	api          *client.Client
	stderr       string // of the last CLI command
	code         int    // its exit code
}

// newCluster starts coordinators, one S3 server, and workers with some CPU slots each, and waits until all are there.
func newCluster(t *testing.T, coordinators, workers, slots int) *cluster {
	t.Helper()
	return newClusterWith(t, coordinators, workers, slots)
}

// newClusterWith is newCluster with variables for the environment of the engines.
func newClusterWith(t *testing.T, coordinators, workers, slots int, env ...string) *cluster {
	t.Helper()
	return newClusterOn(t, nil, coordinators, workers, slots, env...)
}

// newClusterOn is newClusterWith on a network, or on loopback when that is nil.
func newClusterOn(t *testing.T, on *network, coordinators, workers, slots int, env ...string) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-") // short: unix sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, env: env, network: on}
	c.contexts = filepath.Join(c.dir, "contexts.yaml")
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	store := c.startStore()
	t.Cleanup(c.end)
	for i := range coordinators {
		c.startCoordinator(i, store)
	}
	c.connect()
	c.run(0, "cluster", "describe") // from here on the CLI knows all coordinators
	for i := range workers {
		c.startWorker(i, slots)
	}
	eventually(t, 20*time.Second, "all workers are alive", func() bool { return c.alive() == workers })
	return c
}

// storeSecret is the secret key of the store that the cluster begins with; its access key is storeKey.
const storeKey, storeSecret = "cluster-one", "cluster-secret-key-of-many-characters"

// startStore runs the embedded server and returns how to reach it.
func (c *cluster) startStore() *tandemv1.StorageConfig {
	c.t.Helper()
	c.keyring = &keyring{secrets: map[string]string{storeKey: storeSecret}, asked: map[string]int{}}
	server, err := embedded.New(embedded.Config{
		Dir: filepath.Join(c.dir, "objects"), Listen: "127.0.0.1:0", AccessKey: "test-access", SecretKey: "test-secret-key-of-32-characters",
		Keys: c.keyring.secret,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			c.t.Errorf("the S3 server: %v", err)
		}
	})
	<-server.Ready()
	store, err := s3.New(server.ClientConfig())
	if err != nil {
		c.t.Fatal(err)
	}
	c.store, c.storeAddress = store, server.Endpoint()
	return &tandemv1.StorageConfig{
		Endpoint: c.network.reach(c.t, server.Endpoint()), Bucket: "tandem", AccessKey: storeKey, SecretKey: storeSecret,
	}
}

// startCoordinator starts one; the first founds the cluster, the others join it.
func (c *cluster) startCoordinator(i int, store *tandemv1.StorageConfig) {
	c.t.Helper()
	name := nameOf("coordinator", i)
	address := freeAddress(c.t, c.network.address())
	p := &process{t: c.t, name: name, log: filepath.Join(c.dir, name+".log"), env: []string{"TANDEM_CONFIG=" + c.contexts}}
	p.args = []string{"coordinator", "--data-dir", filepath.Join(c.dir, name), "--listen", address, "--gossip",
		freeAddress(c.t, c.network.address())}
	if i == 0 {
		p.args = append(p.args, "--storage-endpoint", store.GetEndpoint(), "--storage-bucket", store.GetBucket(), "--write-context", "test")
		p.env = append(p.env, "TANDEM_STORAGE_ACCESS_KEY="+store.GetAccessKey(),
			"CREDENTIALS_DIRECTORY="+c.credential("storage-secret-key", store.GetSecretKey()))
	} else {
		p.args = append(p.args, "--join", c.addresses[0])
		p.env = append(p.env, "TANDEM_JOIN_TOKEN="+c.joinToken("coordinator"))
	}
	p.start()
	c.coordinators, c.addresses = append(c.coordinators, p), append(c.addresses, address)
	eventually(c.t, 20*time.Second, name+" is a peer", func() bool {
		c.connect()
		return c.api != nil && len(c.peers()) == i+1
	})
}

// credential is a folder with a secret as systemd hands it over (LoadCredential).
func (c *cluster) credential(name, secret string) string {
	c.t.Helper()
	dir := filepath.Join(c.dir, "credentials")
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), []byte(secret+"\n"), 0o400)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return dir
}

func (c *cluster) startWorker(i, slots int) {
	c.t.Helper()
	name := nameOf("worker", i)
	p := &process{t: c.t, name: name, log: filepath.Join(c.dir, name+".log"), env: []string{"TANDEM_JOIN_TOKEN=" + c.joinToken("worker")}}
	p.args = []string{
		"worker", "--data-dir", c.workerDir(i), "--name", name, "--join", c.addresses[0],
		"--slots", fmt.Sprint(slots), "--cores", "1", "--engine", programs.engine,
	}
	if c.network != nil {
		p.host = c.network.hosts[i]
		p.args = append(p.args, "--listen", p.host.address+":7071", "--gossip", p.host.address+":7072")
	}
	for _, v := range c.env {
		p.args = append(p.args, "--engine-env", v)
		if _, value, _ := strings.Cut(v, "="); strings.HasPrefix(strings.TrimPrefix(value, "@"), "/") { // a folder that engines write to
			p.args = append(p.args, "--engine-write", strings.TrimPrefix(value, "@"))
		}
	}
	p.start()
	c.workers = append(c.workers, p)
}

func (c *cluster) workerDir(i int) string { return filepath.Join(c.dir, nameOf("worker", i)) }

// connect makes the client anew, of the context that was written and all coordinators; "up" has one, which is in it. The
// file stays as it is: that the CLI finds the other coordinators is its own affair.
func (c *cluster) connect() {
	c.t.Helper()
	if c.api != nil {
		c.api.Close()
		c.api = nil
	}
	file, err := client.Load(c.contexts)
	if err != nil {
		return
	}
	found, err := file.Get("test")
	if err != nil {
		return
	}
	if len(c.addresses) > 0 {
		found.Endpoints = c.addresses
	}
	c.api, err = client.New(found, client.DefaultPatience(), "tandem-e2e")
	if err != nil {
		c.t.Fatal(err)
	}
}

// at is a client of one coordinator only.
func (c *cluster) at(i int) *client.Client {
	c.t.Helper()
	only := c.api.Context
	only.Endpoints, only.Coordinators = []string{c.addresses[i]}, nil
	api, err := client.New(only, client.DefaultPatience(), "tandem-e2e")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(api.Close)
	return api
}

func (c *cluster) joinToken(role string) string {
	c.t.Helper()
	name := fmt.Sprintf("%s-%d", role, len(c.coordinators)+len(c.workers))
	res, err := c.api.Tokens.CreateToken(c.t.Context(), connect.NewRequest(&tandemv1.CreateTokenRequest{Name: name, Role: role,
		Join: true}))
	if err != nil {
		c.t.Fatalf("make a join token: %v", err)
	}
	return res.Msg.GetSecret()
}

// peers are the coordinators as the cluster sees them.
func (c *cluster) peers() []*tandemv1.Peer {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
	defer cancel()
	res, err := c.api.Cluster.GetCluster(ctx, connect.NewRequest(&tandemv1.GetClusterRequest{}))
	if err != nil {
		return nil
	}
	return res.Msg.GetPeers()
}

// leader is the number of the coordinator that leads, -1 for none.
func (c *cluster) leader() int {
	for _, p := range c.peers() {
		for i, address := range c.addresses {
			if p.GetLeader() && p.GetAddress() == address {
				return i
			}
		}
	}
	return -1
}

// alive counts the workers that take work.
func (c *cluster) alive() int {
	res, err := c.api.Nodes.ListNodes(c.t.Context(), connect.NewRequest(&tandemv1.ListNodesRequest{}))
	if err != nil {
		return 0
	}
	n := 0
	for _, use := range res.Msg.GetNodes() {
		if use.GetNode().GetState() == tandemv1.NodeState_NODE_STATE_ALIVE {
			n++
		}
	}
	return n
}

// node is a worker as the cluster sees it.
func (c *cluster) node(name string) *tandemv1.Node {
	c.t.Helper()
	res, err := c.api.Nodes.GetNode(c.t.Context(), connect.NewRequest(&tandemv1.GetNodeRequest{Id: name}))
	if err != nil {
		c.t.Fatal(err)
	}
	return res.Msg.GetNode().GetNode()
}

// end stops everything, and shows the logs of a failed test. No process may be left.
func (c *cluster) end() {
	for _, p := range append(c.workers, c.coordinators...) {
		p.stop()
	}
	for _, left := range under(c.dir) {
		c.t.Errorf("process %d is left over: %v", left.pid, left.args)
	}
	if c.t.Failed() {
		for _, p := range append(c.coordinators, c.workers...) {
			c.t.Logf("the end of %s:\n%s", p.name, p.tail())
		}
	}
}

// freeAddress is an address of this machine whose port nobody has at the moment.
func freeAddress(t *testing.T, ip string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
