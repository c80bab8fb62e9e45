package agent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

// Config is what an operator sets. Start with DefaultConfig.
type Config struct {
	// DataDir is the agent's own folder: keys, logs, scratch space. One agent at a time.
	DataDir string
	// Listen is the host:port of the HTTPS server; port 0 picks a free one.
	Listen string
	// AdvertiseHost is the host or address others reach this node by; empty: the host of Listen, or this host's name
	// when Listen is a wildcard.
	AdvertiseHost string
	// GossipListen is the host:port gossip listens on, UDP and TCP; port 0 picks a free one.
	GossipListen string
	// Name is the node's name for people; empty: the host's name.
	Name string
	// Pool is the pool the node belongs to, 1 to 63 of [a-z0-9-].
	Pool string
	// Join lists coordinators, host:port, to join through at the first start and to try first at later ones.
	Join []string
	// JoinToken admits the node at its first start; later starts use the certificate in DataDir.
	JoinToken string
	// EngineBinary is the path of tandem-engine; empty: beside this program, else on the PATH.
	EngineBinary string
	// EngineEnv is what engines get in their environment besides what the agent sets, as NAME=value.
	EngineEnv []string
	// PlainDataPlane lets ranks of different hosts exchange values by themselves, in clear, as on a network that is trusted. All workers
	// or none.
	PlainDataPlane bool
	// EngineUsers are the users that engines run as, one for each allocation and replica, if the agent may change users; not set: nobody.
	EngineUsers Users
	// EngineRead and EngineWrite list folders and files that engines may read, and write, besides what they need by themselves.
	EngineRead, EngineWrite []string
	// EngineMemory is how much memory one engine may have on the host, in bytes; 0: nine tenths of the machine's.
	EngineMemory int64
	// EngineDisk is how much disk the temporary files of one engine may take, in bytes; 0: any number. A checkpoint that waits for the store
	// may have half of it.
	EngineDisk int64
	// SandboxWithout lists parts of the sandbox that engines do without.
	SandboxWithout []tandemv1.SandboxPart
	// RequireSandbox: the agent does not run where a part of the sandbox is missing.
	RequireSandbox bool
	// Slots is the number of CPU slots to offer; 0: one slot for each CUDA device, or one CPU slot if there is none.
	Slots int
	// DataCache is how much local disk dataset shards may take, in bytes; 0: none, rows are read from the store.
	DataCache int64
	// Cores is the number of CPU cores that the slots share; 0: all of the machine.
	Cores int
	// Version is the version of this program.
	Version string
	// KillGrace is the time an engine has between SIGTERM and SIGKILL.
	KillGrace time.Duration
	// HelloTimeout is the time an engine has to ask for its task before it counts as hung.
	HelloTimeout time.Duration
	// EngineIdle is how long an engine whose task is over waits for another of the same job, whose start that saves; 0: not at all.
	EngineIdle time.Duration
	// ProbeInterval is the time between two questions whether an engine lives, and the time it has to answer one; two without an
	// answer end it.
	ProbeInterval time.Duration
	// InferDeadline is the time that a replica may compute one inference request; one that takes longer ends it.
	InferDeadline time.Duration
	// LogFlush is the longest time a log line waits before it is uploaded.
	LogFlush time.Duration
	// LogBudget is how many bytes the log of one task may take in the store; of a longer one the beginning and the newest lines stay.
	LogBudget int64
	// ProgressInterval is the time between two forwards of progress.
	ProgressInterval time.Duration
}

// Deps are what the agent needs from outside.
type Deps struct {
	// Log receives what operators should know.
	Log zerolog.Logger
	// OpenStore opens the store of the cluster; nil: S3.
	OpenStore func(*tandemv1.StorageConfig) (storage.Store, error)
}

// MinLogBudget holds some chunks.
const MinLogBudget = 2 << 20

// MaxSlots is what a coordinator takes of one node.
const MaxSlots = 256

// DefaultConfig is a node on loopback with ports picked by the system.
func DefaultConfig() Config {
	return Config{
		Listen:           "127.0.0.1:0",
		GossipListen:     "127.0.0.1:0",
		Pool:             "default",
		Version:          "dev",
		DataCache:        4 << 30,
		EngineDisk:       16 << 30,
		KillGrace:        5 * time.Second,
		HelloTimeout:     time.Minute,
		EngineIdle:       5 * time.Second,
		ProbeInterval:    5 * time.Second,
		InferDeadline:    30 * time.Second,
		LogFlush:         2 * time.Second,
		LogBudget:        64 << 20,
		ProgressInterval: 500 * time.Millisecond,
	}
}

// Validate says what is wrong with the configuration, all of it at once.
func (c Config) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("data folder: not set"))
	}
	for _, l := range []struct{ name, address string }{{"listen", c.Listen}, {"gossip listen", c.GossipListen}} {
		if _, _, err := net.SplitHostPort(l.address); err != nil {
			errs = append(errs, fmt.Errorf("%s: want host:port, got %q", l.name, l.address))
		}
	}
	for _, j := range c.Join {
		if _, _, err := net.SplitHostPort(j); err != nil {
			errs = append(errs, fmt.Errorf("join: want host:port, got %q", j))
		}
	}
	if !validName(c.Pool) {
		errs = append(errs, fmt.Errorf("pool: want 1 to 63 of [a-z0-9-], got %q", c.Pool))
	}
	if c.EngineMemory < 0 {
		errs = append(errs, fmt.Errorf("engine memory: must not be negative, got %d", c.EngineMemory))
	}
	if c.EngineDisk < 0 {
		errs = append(errs, fmt.Errorf("engine disk: must not be negative, got %d", c.EngineDisk))
	}
	for _, path := range slices.Concat(c.EngineRead, c.EngineWrite) {
		if !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("what engines may read and write: want an absolute path, got %q", path))
		}
	}
	if c.Slots < 0 || c.Slots > MaxSlots {
		errs = append(errs, fmt.Errorf("slots: want 0 to %d, got %d", MaxSlots, c.Slots))
	}
	if c.Cores < 0 {
		errs = append(errs, fmt.Errorf("cores: must not be negative, got %d", c.Cores))
	}
	if c.EngineIdle < 0 {
		errs = append(errs, fmt.Errorf("engine idle: must not be negative, got %v", c.EngineIdle))
	}
	if c.DataCache < 0 {
		errs = append(errs, fmt.Errorf("data cache: must not be negative, got %d", c.DataCache))
	}
	if c.LogBudget < MinLogBudget {
		errs = append(errs, fmt.Errorf("log budget: must be at least %d MiB, got %d bytes", MinLogBudget>>20, c.LogBudget))
	}
	for _, e := range c.EngineEnv {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			errs = append(errs, fmt.Errorf("engine environment: want NAME=value, got %q", e))
		}
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"kill grace", c.KillGrace}, {"hello timeout", c.HelloTimeout}, {"probe interval", c.ProbeInterval},
		{"inference deadline", c.InferDeadline}, {"log flush", c.LogFlush}, {"progress interval", c.ProgressInterval},
	} {
		if d.d <= 0 {
			errs = append(errs, fmt.Errorf("%s: must be positive, got %v", d.name, d.d))
		}
	}
	return errors.Join(errs...)
}

func validName(s string) bool {
	if len(s) == 0 || len(s) > 63 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}

// advertiseHost is where others reach the node.
func (c Config) advertiseHost() string {
	if c.AdvertiseHost != "" {
		return c.AdvertiseHost
	}
	host, _, _ := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return host
	}
	return hostname()
}

func (c Config) name() string {
	if c.Name != "" {
		return c.Name
	}
	return hostname()
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// engineBinary finds tandem-engine.
func (c Config) engineBinary() (string, error) {
	if c.EngineBinary != "" {
		path, err := filepath.Abs(c.EngineBinary)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return "", fmt.Errorf("%w: %w; build it with \"make build\", or name it with --engine", ErrEngine, err)
		}
		return path, nil
	}
	return findEngine()
}

// cores is the number of CPU cores this process may use.
func (c Config) cores() int {
	if c.Cores > 0 {
		return c.Cores
	}
	return runtime.NumCPU()
}
