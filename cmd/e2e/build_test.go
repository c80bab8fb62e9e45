package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs are the binaries under test, and the root of the checkout they are built from.
var programs struct{ tandem, engine, repository string }

func TestMain(m *testing.M) {
	if os.Getenv(hostVariable) != "" {
		fmt.Fprintln(os.Stderr, "e2e:", becomeHost())
		os.Exit(1)
	}
	if os.Getenv(hostileVariable) != "" {
		os.Exit(hostileEngine(os.Args[1:]))
	}
	if insideNetwork() {
		os.Exit(m.Run())
	}
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// buildAndRun builds both programs as they are now; Go's build cache makes that cheap.
func buildAndRun(m *testing.M) (int, error) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return 0, fmt.Errorf("find the checkout: %w", err)
	}
	programs.repository = root // now: the embedded S3 server changes the working folder
	dir, err := os.MkdirTemp("", "tandem-e2e-")
	if err != nil {
		return 0, fmt.Errorf("make a folder for the programs: %w", err)
	}
	defer os.RemoveAll(dir)
	programs.tandem, programs.engine = filepath.Join(dir, "tandem"), filepath.Join(dir, "tandem-engine")
	for out, env := range map[string]string{programs.tandem: "CGO_ENABLED=0", programs.engine: "CGO_ENABLED=1"} {
		cmd := exec.CommandContext(context.Background(), "go", "build", "-o", out, "tandem.dev/cmd/"+filepath.Base(out))
		cmd.Env = append(os.Environ(), env)
		if text, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("build %s: %w\n%s", filepath.Base(out), err, text)
		}
	}
	return m.Run(), nil
}
