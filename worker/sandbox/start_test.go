package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem.dev/worker/child"
	"tandem.dev/worker/seal"
)

// startVariable makes this test's program one that ends at once; "sealed": after it has given up what an engine gives up.
const startVariable = "SANDBOX_TEST_START"

func shortLived(how string) error {
	if how != "sealed" {
		return nil
	}
	return seal.Close(seal.Options{Memory: 4 << 30, Threads: 4096, Files: 256})
}

// BenchmarkStart measures what the sandbox adds to the start of an engine: a program that does nothing is started in turn with all of it and
// with none, and the figure is the median of the differences, which noise does not move much. Run it with -benchtime 200x.
func BenchmarkStart(b *testing.B) {
	s := child.NewStarter()
	ctx, end := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		end()
		<-ended
	}()
	h, n := starting(b)
	var with, without, added []float64
	for i := range b.N {
		first := i%2 == 0 // what comes second finds other caches
		one := started(b, s, h, n, first)
		two := started(b, s, h, n, !first)
		if !first {
			one, two = two, one
		}
		with, without, added = append(with, one), append(without, two), append(added, one-two)
	}
	for name, values := range map[string][]float64{"with-ms": with, "without-ms": without, "added-ms": added} {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], name)
	}
	b.ReportMetric(0, "ns/op")
}

// starting is what engines of this machine have, with a folder.
func starting(b *testing.B) (Host, Need) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	h, n := Host{Features: Detect(), Program: self}, Need{Home: b.TempDir(), User: Own}
	if h.Features.User {
		n.User = 65534
		if err := os.Chown(n.Home, n.User, n.User); err != nil {
			b.Fatal(err)
		}
	}
	return h, n
}

// started runs the program to its end, as the agent starts an engine, and returns how many milliseconds that took.
func started(b *testing.B, s *child.Starter, h Host, n Need, confined bool) float64 {
	b.Helper()
	fd, err := unix.Open(h.Program, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	begin := time.Now()
	cmd := exec.Command(h.Program)
	cmd.Path = fmt.Sprintf("/proc/self/fd/%d", fd)
	release := func() {}
	if confined {
		p := h.Policy(n, Glob)
		cmd.Env = []string{startVariable + "=sealed"}
		release, err = s.StartFrom(cmd, func() error { return p.Confine(cmd) })
	} else {
		cmd.Env = []string{startVariable + "=open"}
		err = s.Start(cmd)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer release()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return float64(time.Since(begin).Microseconds()) / 1000
}
