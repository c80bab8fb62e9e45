package door

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// floor is the memory limit of a coordinator that has little to keep, in bytes.
const floor = 224 << 20

// KeepMemory makes the process give memory back that it needs no more, until ctx ends: it sets the soft limit of the Go runtime to twice
// what lives, 224 MiB at least. Without a limit what an attack made the process take stays with it for minutes; with a fixed one a
// cluster that has grown would collect garbage all the time. GOMEMLIMIT takes precedence.
func KeepMemory(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		metrics.Read(live)
		debug.SetMemoryLimit(limitFor(int64(min(live[0].Value.Uint64(), 1<<50)))) //nolint:gosec // far below the largest int64
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// limitFor is the memory limit where so many bytes live.
func limitFor(live int64) int64 { return max(floor, 2*live+floor/2) }
