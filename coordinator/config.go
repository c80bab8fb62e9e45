package coordinator

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/door"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/s3"
)

// Config of a coordinator.
type Config struct {
	// DataDir is the folder of keys, log and snapshots; it is made if it does not exist.
	DataDir string
	// Listen is the host:port of the one TLS port; port 0 takes a free one.
	Listen string
	// Advertise is the host or host:port others reach it by; empty: that of Listen, or the host's name when that is a wildcard.
	Advertise string
	// GossipListen is the host:port to gossip on, TCP and UDP; port 0 takes a free one.
	GossipListen string
	// GossipAdvertise is the host or host:port others gossip with; empty: that of GossipListen.
	GossipAdvertise string
	// Hosts are more names and addresses for the certificate.
	Hosts []string
	// Storage says where the objects are. Only the first start of the first coordinator needs it; the cluster keeps it,
	// and what a later start says otherwise is ignored with a warning.
	Storage *tandemv1.StorageConfig
	// Heartbeat is how long a follower waits for its leader before it stands for election.
	Heartbeat time.Duration
	// NodeTimeout is how long nothing may be heard of a node before it is lost.
	NodeTimeout time.Duration
	// Version of the program, as clients see it.
	Version string
	// Limits of what is served at once, and to whom.
	Limits door.Limits
}

// DefaultConfig is for one machine; DataDir and Storage are the caller's.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:7070", GossipListen: "127.0.0.1:7071",
		Heartbeat: 500 * time.Millisecond, NodeTimeout: 10 * time.Second, Version: "dev", Limits: door.DefaultLimits(),
	}
}

// Validate says what is wrong.
func (c Config) Validate() error {
	if c.DataDir == "" {
		return errors.New("coordinator: the data folder is not given")
	}
	for name, address := range map[string]string{"listen": c.Listen, "gossip listen": c.GossipListen} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("coordinator: %s address %q must be host:port", name, address)
		}
	}
	if c.Heartbeat < 10*time.Millisecond || c.NodeTimeout < time.Second {
		return errors.New("coordinator: the heartbeat must be at least 10ms and the node time-out at least 1s")
	}
	return c.Limits.Validate()
}

func (c Config) pkiDir() string   { return filepath.Join(c.DataDir, "pki") }
func (c Config) auditDir() string { return filepath.Join(c.DataDir, "audit") }
func (c Config) raftDir() string  { return filepath.Join(c.DataDir, "raft") }

// advertised is the host:port others reach a port by, which was bound at bound.
func advertised(advertise, listen string, bound net.Addr) (string, error) {
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "", fmt.Errorf("read the bound address: %w", err)
	}
	if advertise != "" {
		if _, _, err := net.SplitHostPort(advertise); err == nil {
			return advertise, nil
		}
		return net.JoinHostPort(advertise, port), nil
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("read the address to listen on: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("find a name others reach this host by: %w; give an address to advertise", err)
		}
	}
	return net.JoinHostPort(host, port), nil
}

// hosts are the names for the certificate of a coordinator at address.
func (c Config) hosts(address string) []string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	all := append([]string{host}, c.Hosts...)
	if name, err := os.Hostname(); err == nil {
		all = append(all, name)
	}
	return all
}

// Deps of a coordinator.
type Deps struct {
	Log zerolog.Logger
	// OpenStore opens the store of the cluster; nil: S3.
	OpenStore func(*tandemv1.StorageConfig) (storage.Store, error)
	// Fatal ends the process when the coordinator cannot go on, its disk hanging for example; nil: it logs and exits.
	Fatal func(error)
}

func openS3(c *tandemv1.StorageConfig) (storage.Store, error) {
	return s3.New(s3.ConfigOf(c))
}
