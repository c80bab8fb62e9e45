package tunnel

import (
	"fmt"
	"os"
	"strings"
)

// Network names the network namespace of this process, as no other has: its engines, which share it, reach what listens on its loopback.
func Network() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("find out which network this is: %w", err)
	}
	space, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return "", fmt.Errorf("find out which network this is: %w", err)
	}
	return strings.TrimSpace(string(boot)) + " " + space, nil
}
