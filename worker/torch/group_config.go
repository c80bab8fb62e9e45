package torch

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"
)

// Rendezvous is where the ranks of a group leave their addresses for each other.
// A key is set once. Both methods may be called at the same time by several threads.
type Rendezvous interface {
	Set(ctx context.Context, key string, value []byte) error
	// Get waits until the key is set or ctx ends; then its error is ctx's.
	Get(ctx context.Context, key string) ([]byte, error)
}

// GroupConfig says who is in a process group and how they find each other.
type GroupConfig struct {
	Rank       int
	WorldSize  int
	Rendezvous Rendezvous
	// Prefix is put before every key. It must never be used twice: one for each generation.
	Prefix string
	// BindAddress is the address or host name, of this machine and reachable by the others, that Gloo listens on.
	BindAddress string
	// Plain lets values go from host to host in clear. Without it NCCL, which cannot encrypt, is refused between hosts; that what Gloo says is
	// encrypted is up to whoever chooses BindAddress.
	Plain bool
	// Timeout of joining and of every collective. It is the backstop for a hung peer; a dead one is noticed at once.
	Timeout time.Duration
	Device  Device
	// Memory is how ranks of one host come to memory that they share.
	Memory Memory

	host      string // for tests: ranks with another one are on another host
	noSegment bool   // for tests: this rank cannot share memory
	noRoom    bool   // for tests: it cannot share that of its gradients
}

func (c GroupConfig) validate() error {
	switch {
	case c.WorldSize < 1 || c.Rank < 0 || c.Rank >= c.WorldSize:
		return fmt.Errorf("rank %d of %d ranks does not exist", c.Rank, c.WorldSize)
	case c.WorldSize > math.MaxInt32:
		return fmt.Errorf("%d ranks are too many", c.WorldSize)
	case c.Rendezvous == nil:
		return fmt.Errorf("a process group needs a rendezvous")
	case c.BindAddress == "" && !c.Device.CUDA:
		return fmt.Errorf("a process group needs an address to listen on")
	case c.Timeout < time.Millisecond:
		return fmt.Errorf("timeout %v of a process group is too short", c.Timeout)
	}
	return nil
}

// Memory is how ranks of one host come to memory that they share: each makes a file that lies in no folder, and the others open the first rank's.
type Memory struct {
	// Name is the name of the file in /proc; whoever opens it for the others may want to know it. Empty: "tandem".
	Name string
	// Open opens the file behind a descriptor of another rank's process, to read and write. nil: through /proc, which processes of one user may
	// that are not confined.
	Open func(ctx context.Context, pid, fd int) (*os.File, error)
}

func (m Memory) name() string {
	if m.Name == "" {
		return "tandem"
	}
	return m.Name
}

func (m Memory) open(ctx context.Context, pid, fd int) (*os.File, error) {
	if m.Open != nil {
		return m.Open(ctx, pid, fd)
	}
	return os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", pid, fd), os.O_RDWR, 0)
}
