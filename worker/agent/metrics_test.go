package agent

import (
	"flag"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tandem.dev/proto/prom/promtest"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

var update = flag.Bool("update", false, "write the table of metrics in docs/operations.md")

// shown are metrics with everything that is there at times only.
func shown() *metrics {
	m := newMetrics("test")
	m.observe(counts{
		engines: func() map[phase]int { return nil }, queue: func() int { return 0 }, slots: func() (int, int) { return 2, 1 },
		progress: func() (float64, float64) { return 0, 0 }, session: func() bool { return true }, expires: func() time.Time { return time.Unix(1, 0) },
	})
	m.started.WithLabelValues("train")
	m.ended.WithLabelValues("finished")
	m.reports.WithLabelValues("taken")
	m.requests.WithLabelValues("ok")
	m.step(&tandemv1.StepTime{Steps: 2, Data: 0.5, Forward: 1})
	return m
}

// TestMetricsFollowRules: all metrics of an agent follow the rules for metrics and are in the documentation.
func TestMetricsFollowRules(t *testing.T) {
	promtest.Check(t, shown().registry, "../../docs/operations.md", "agents", *update)
}

// TestSteps: steps add up over all trials, and what an engine says that cannot be neither counts nor ends the agent.
func TestSteps(t *testing.T) {
	m := shown()
	p := newProgress(time.Second, nil, nil, m.step)
	p.put(&tandemv1.Progress{TrialId: "trial-1", Step: 3, StepTime: &tandemv1.StepTime{Steps: 3, Data: 0.25}})
	p.put(&tandemv1.Progress{TrialId: "trial-2", Step: 9})
	for _, nonsense := range []*tandemv1.StepTime{
		{Steps: -1}, {Steps: 1, Data: -1}, {Steps: 1, Other: math.NaN()}, {Steps: 1, Backward: math.Inf(1)}, {Steps: 0, Data: 1},
	} {
		p.put(&tandemv1.Progress{TrialId: "trial-1", StepTime: nonsense})
	}
	want := `
# HELP tandem_agent_step_seconds_total Seconds of those steps by part, on rank 0: divided by steps_total, where the time of a step goes. Per agent.
# TYPE tandem_agent_step_seconds_total counter
tandem_agent_step_seconds_total{part="backward"} 0
tandem_agent_step_seconds_total{part="checkpoint"} 0
tandem_agent_step_seconds_total{part="communication"} 0
tandem_agent_step_seconds_total{part="data"} 0.75
tandem_agent_step_seconds_total{part="forward"} 1
tandem_agent_step_seconds_total{part="optimizer"} 0
tandem_agent_step_seconds_total{part="other"} 0
# HELP tandem_agent_steps_total Optimizer steps of the trials whose rank 0 is here. Per agent.
# TYPE tandem_agent_steps_total counter
tandem_agent_steps_total 5
`
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "tandem_agent_steps_total", "tandem_agent_step_seconds_total"); err != nil {
		t.Error(err)
	}
}
