package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/bench/attack"
	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// attackers are a hostile crowd at coordinator i: half of it has the token of a user.
func (c *cluster) attackers(i, connections int) []*attack.Attacker {
	c.t.Helper()
	res, err := c.api.Tokens.CreateToken(c.t.Context(), connect.NewRequest(&tandemv1.CreateTokenRequest{Name: fmt.Sprintf("hostile-%d",
		i), Role: "user"}))
	if err != nil {
		c.t.Fatal(err)
	}
	return attack.Crowd(c.addresses[i], c.api.Context.CA, res.Msg.GetSecret(), connections)
}

// attack has a crowd attack until the function that it returns is called; the end of the test does so too.
func (c *cluster) attack(crowd []*attack.Attacker) (stop func()) {
	stop = sync.OnceFunc(attack.Start(context.Background(), crowd))
	c.t.Cleanup(stop)
	return stop
}

// memory is a line of /proc/PID/status, in MiB.
func (p *process) memory(line string) int {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	found := regexp.MustCompile(line + `:\s+(\d+) kB`).FindSubmatch(b)
	if found == nil {
		p.t.Fatalf("no %s in /proc", line)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		p.t.Fatal(err)
	}
	return n >> 10
}

// figure is a metric without labels of a coordinator.
func figure(t *testing.T, c *client.Client, name string) float64 {
	t.Helper()
	res, err := c.HTTP.Get(client.BaseURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res.Status, err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestAttack: a thousand hostile connections, half of them with a user's token, get refusals only; what an honest client asks meanwhile is
// answered, all of it; the coordinator stays below 300 MB and gives back what was taken.
func TestAttack(t *testing.T) {
	c := newCluster(t, 1, 0, 0)
	crowd := c.attackers(0, 1000)
	stop := c.attack(crowd)
	refused := func() (n int) {
		for _, a := range crowd {
			for outcome, times := range a.Counts() {
				if outcome != "kept out" && outcome != "held" {
					n += times
				}
			}
		}
		return n
	}
	asked, honest := 0, c.at(0)
	eventually(t, 60*time.Second, "a thousand attacks were turned away", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := honest.Jobs.ListJobs(ctx, connect.NewRequest(&tandemv1.ListJobsRequest{})); err != nil {
			t.Errorf("an honest call after %d others: %v", asked, err)
		}
		asked++
		return refused() >= 1000
	})
	stop()
	for i, allowed := range []string{"401 429 408 400 closed held kept out", "400 401 404 408 413 429 499 closed held kept out"} {
		for outcome, n := range crowd[i].Counts() {
			if !strings.Contains(allowed, outcome) {
				t.Errorf("attackers %d: %d times %s", i, n, outcome)
			}
		}
	}
	peak := c.coordinators[0].memory("VmHWM")
	t.Logf("%d honest calls; without a token %v, with one %v; %d MiB at most", asked, crowd[0].Counts(), crowd[1].Counts(), peak)
	if peak >= 300 {
		t.Errorf("the coordinator took %d MiB", peak)
	}
	if crowd[0].Counts()["401"] == 0 || crowd[1].Counts()["413"] == 0 {
		t.Error("an attack was not made")
	}
	eventually(t, 40*time.Second, "nothing of the attack is left", func() bool {
		return figure(t, c.api, "tandem_requests_held_bytes") == 0 && figure(t, c.api,
			"tandem_connections") < 20 && c.coordinators[0].memory("VmRSS") < 250
	})
	if out := c.run(0, "audit", "--outcome", "denied", "-o", "json"); !strings.Contains(out, "127.0.0.2") {
		t.Errorf("the audit log has nothing of it: %.500s", out)
	}
}
