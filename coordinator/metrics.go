package coordinator

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/coordinator/api"
	"tandem.dev/coordinator/gateway"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/prom"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

// collector reads the metrics out of the state when they are asked for: nothing is counted twice, nothing drifts.
type collector struct{ c *Coordinator }

// Describe sends nothing: which metrics there are depends on the state.
func (m *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *collector) Collect(out chan<- prometheus.Metric) {
	v := m.c.state.View()
	e := emitter{out}
	jobs(e, v)
	m.speed(e, v)
	m.queue(e, v)
	replicas(e, v)
	m.c.inferences.Keep(func(model string) bool {
		_, ok := v.Deployment(model)
		return ok
	})
	nodes(e, v)
	m.raft(e, v)
	m.process(e)
	m.certificates(e)
	notices(e, v)
}

// emitter sends gauges.
type emitter struct{ out chan<- prometheus.Metric }

// desc describes a metric.
func desc(s prom.Scope, name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(prom.Namespace, "", name), s.Help(help), labels, nil)
}

func (e emitter) put(d *prometheus.Desc, value float64, labels ...string) {
	e.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (e emitter) each(d *prometheus.Desc, values map[string]float64) {
	for _, label := range slices.Sorted(maps.Keys(values)) {
		e.put(d, values[label], label)
	}
}

func jobs(e emitter, v *state.View) {
	count := map[string]float64{}
	for s := range tandemv1.JobState_name {
		if s != 0 {
			count[word(tandemv1.JobState(s).String(), "JOB_STATE_")] = 0
		}
	}
	for _, j := range v.Jobs() {
		count[word(j.GetState().String(), "JOB_STATE_")]++
	}
	e.each(desc(prom.Cluster, "jobs", "Jobs by state.", "state"), count)
}

// speed is that of all that trains. The speed of one job is in the API: a label for it would make a series for each job there ever was.
func (m *collector) speed(e emitter, v *state.View) {
	steps, samples := 0.0, 0.0
	for _, t := range v.TrialsIn("", tandemv1.TrialState_TRIAL_STATE_RUNNING) {
		if p := m.c.board.Progress(t.GetId(), t.GetGeneration()); p != nil {
			steps += p.GetStepsPerSecond()
			samples += p.GetSamplesPerSecond()
		}
	}
	e.put(desc(prom.Cluster, "steps_per_second", "Optimizer steps a second, over all trials that train."), steps)
	e.put(desc(prom.Cluster, "samples_per_second", "Rows a second, over all trials that train and all of their ranks."), samples)
}

func replicas(e emitter, v *state.View) {
	d := desc(prom.Cluster, "replicas", "Replicas by model and state.", "model", "state")
	for _, of := range v.Deployments() {
		byState := map[string]float64{"starting": 0, "ready": 0, "failed": 0}
		for _, r := range v.ReplicasOf(of.GetName()) {
			byState[word(r.GetState().String(), "REPLICA_STATE_")]++
		}
		for _, s := range slices.Sorted(maps.Keys(byState)) {
			e.put(d, byState[s], of.GetName(), s)
		}
	}
}

func nodes(e emitter, v *state.View) {
	count := map[string]float64{"alive": 0, "lost": 0}
	closed := map[string]float64{"cordoned": 0, "draining": 0, "faulty": 0}
	total, used, now := map[string]float64{}, map[string]float64{}, time.Now()
	for _, n := range v.Nodes() {
		count[word(n.GetState().String(), "NODE_STATE_")]++
		total[n.GetPool()] += 0
		used[n.GetPool()] += 0
		if n.GetState() != tandemv1.NodeState_NODE_STATE_ALIVE {
			continue
		}
		total[n.GetPool()] += float64(len(n.GetSlots()))
		used[n.GetPool()] += float64(len(state.UsageOf(v, n.GetId())))
		for why, is := range map[string]bool{"cordoned": n.GetCordoned(), "draining": n.GetDraining(), "faulty": state.Faulty(n, now)} {
			if is {
				closed[why]++
			}
		}
	}
	e.each(desc(prom.Cluster, "nodes", "Nodes by state.", "state"), count)
	e.each(desc(prom.Cluster, "nodes_closed", "Nodes that are alive and take no new work, by reason. One may have several.", "reason"), closed)
	e.each(desc(prom.Cluster, "slots", "Slots of nodes that are alive, by pool.", "pool"), total)
	e.each(desc(prom.Cluster, "slots_used", "Slots in use on nodes that are alive, by pool.", "pool"), used)
}

// process is what this coordinator holds and reaches.
func (m *collector) process(e emitter) {
	e.put(desc(prom.Coordinator, "connections", "Connections that are open."), float64(m.c.crowd.Open()))
	e.out <- prometheus.MustNewConstMetric(desc(prom.Coordinator, "audit_lost_total", "Entries of the audit log that could not be written."), prometheus.CounterValue, float64(m.c.audit.Lost()))
	e.put(desc(prom.Coordinator, "requests_held_bytes", "Memory that requests take now, as it counts for the limits."), float64(m.c.api.Held()))
	fault := m.c.store.Load().fault()
	e.put(desc(prom.Coordinator, "store_serves", "1 while the object store serves this coordinator, 0 while it does not answer, refuses the cluster's keys, or is full."), number(fault == nil))
	e.put(desc(prom.Coordinator, "store_full", "1 while the object store has no room for what this coordinator writes."), number(errors.Is(fault, storage.ErrFull)))
}

func (m *collector) certificates(e emitter) {
	ends := desc(prom.Coordinator, "certificate_expiry_timestamp_seconds", "When a certificate of this coordinator ends, in seconds since 1970: its own, and that of the CA that signs.", "certificate")
	e.put(ends, float64(m.c.ca.Load().Certificate.NotAfter.Unix()), "ca")
	if leaf, err := m.c.creds.Get().Leaf(); err == nil {
		e.put(ends, float64(leaf.NotAfter.Unix()), "node")
	}
}

// notices count what an operator was told to see to.
func notices(e emitter, v *state.View) {
	off := 0.0
	ending := map[string]float64{"node": 0, "coordinator": 0, "ca": 0}
	count := func(kind string, noted bool, offset *durationpb.Duration) {
		if noted {
			ending[kind]++
		}
		if offset != nil {
			off++
		}
	}
	for _, n := range v.Nodes() {
		count("node", n.GetExpiryNoted(), n.GetClockOffset())
	}
	for _, c := range v.Coordinators() {
		count("coordinator", c.GetExpiryNoted(), c.GetClockOffset())
	}
	cluster, _ := v.Cluster()
	count("ca", state.ActiveAuthority(cluster).GetExpiryNoted(), nil)
	e.put(desc(prom.Cluster, "clocks_off", "Nodes and coordinators whose clock differs from the coordinators' by five minutes or more."), off)
	e.each(desc(prom.Cluster, "certificates_ending", "Certificates that were not renewed and end soon: 30 days before, that of the CA 180 days.", "of"), ending)
}

// number is 1 for what is so.
func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// word is the name of a state in lower case.
func word(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

// metrics serves the metrics that a caller may see: series of a model are for those who have its project.
func (c *Coordinator) metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reach := api.From(r.Context()).Reach
		seen := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			all, err := c.registry.Gather()
			for _, family := range all {
				family.Metric = slices.DeleteFunc(family.Metric, func(m *dto.Metric) bool {
					return reach != state.AllProjects && elsewhere(m, reach)
				})
			}
			return slices.DeleteFunc(all, func(f *dto.MetricFamily) bool { return len(f.GetMetric()) == 0 }), err
		})
		promhttp.HandlerFor(seen, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
}

// elsewhere says whether a series is of a model of another project.
func elsewhere(m *dto.Metric, project string) bool {
	for _, label := range m.GetLabel() {
		if label.GetName() != "model" {
			continue
		}
		of, name := state.SplitKey(label.GetValue())
		return of != project && name != gateway.Unknown
	}
	return false
}
