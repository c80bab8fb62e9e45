package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/spec"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("decode %q: %v", text, err)
	}
}

// steps counts the steps that agents have said since it began, with no coordinator between.
type steps struct{ done atomic.Int64 }

func (s *steps) last() int64 { return s.done.Load() }

// agentClient speaks to agents with the certificate of a coordinator.
func (c *cluster) agentClient() (h *http.Client, urls []string) {
	c.t.Helper()
	for i := range c.workers {
		urls = append(urls, "https://"+c.agentAddress(i)+"/metrics")
	}
	node, err := identity.Load(filepath.Join(c.dir, "coordinator-1", "pki"))
	if err != nil {
		c.t.Fatal(err)
	}
	h = node.HTTPClient(identity.RoleName(identity.RoleWorker))
	h.Timeout = time.Second
	return h, urls
}

// watchSteps reads the agents' metrics 20 times a second until the test ends; the agent of rank 0 counts the steps.
func (c *cluster) watchSteps() *steps {
	c.t.Helper()
	h, urls := c.agentClient()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	c.t.Cleanup(func() { cancel(); <-done; h.CloseIdleConnections() })
	s := &steps{}
	before := map[string]int64{} // what an agent had counted at the last look
	for _, url := range urls {
		before[url] = readMetric(ctx, h, url, stepsMetric)
	}
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				for _, url := range urls {
					now := readMetric(ctx, h, url, stepsMetric)
					if now == 0 {
						continue // it does not answer, or has counted nothing
					}
					if now < before[url] {
						before[url] = 0 // it was started again
					}
					s.done.Add(now - before[url])
					before[url] = now
				}
			}
		}
	}()
	return s
}

// stepsMetric counts the steps of the trials whose rank 0 an agent has.
const stepsMetric = "tandem_agent_steps_total"

// readMetric returns a number of an agent, 0 when there is none.
func readMetric(ctx context.Context, h *http.Client, url, name string) int64 {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	response, err := h.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok && strings.ContainsAny(rest[:1], "{ ") {
			step, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			if err == nil {
				return int64(step)
			}
		}
	}
	return 0
}

// agentAddress is where an agent's HTTPS server listens.
func (c *cluster) agentAddress(worker int) string {
	c.t.Helper()
	res, err := c.api.Nodes.GetNode(c.t.Context(), connect.NewRequest(&tandemv1.GetNodeRequest{Id: nameOf("worker", worker)}))
	if err != nil {
		c.t.Fatal(err)
	}
	return res.Msg.GetNode().GetNode().GetAddress()
}

// specOf reads a spec file as the CLI does.
func specOf(t *testing.T, path string) *tandemv1.JobSpec {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := spec.Parse(path, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
