package agent

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
)

// roleVar makes a process of this test binary an engine or an agent.
const roleVar = "TANDEM_AGENT_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "engine":
		os.Exit(fakeEngine(os.Args[1:]))
	case "agent":
		os.Exit(agentProcess(os.Args[1:]))
	}
	goleak.VerifyTestMain(m,
		// memberlist leaves these behind at its end.
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*NetTransport).tcpListen"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).streamListen"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).packetListen"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).packetHandler"),
	)
}

// agentProcess is an agent in a process of its own: data folder, coordinators (comma-separated), join token.
func agentProcess(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := testConfig(args[0])
	cfg.Join, cfg.JoinToken = strings.Split(args[1], ","), args[2]
	a, err := New(cfg, Deps{Log: zerolog.Nop(), OpenStore: func(*tandemv1.StorageConfig) (storage.Store, error) {
		return memstore.New(memstore.Config{}), nil
	}})
	if err == nil {
		err = a.Run(ctx)
	}
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return 0
}

// testConfig is an agent with two CPU slots whose engines are this test binary.
func testConfig(dir string) Config {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cfg := DefaultConfig()
	cfg.DataDir, cfg.EngineBinary, cfg.EngineEnv = dir, self, []string{roleVar + "=engine"}
	cfg.Name, cfg.Slots = "node under test", 2
	return cfg
}
