package coordinator

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

// collector reads the metrics out of the state when they are asked for: nothing is counted twice, nothing drifts.
type collector struct{ c *Coordinator }

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tandem_"+name, help, labels, nil)
}

// Describe sends nothing: which metrics there are depends on the state.
func (m *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *collector) Collect(out chan<- prometheus.Metric) {
	v := m.c.state.View()
	emit := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	m.jobs(v, emit)
	m.nodes(v, emit)
	m.raft(v, emit)
	emit(gauge("connections", "Connections that are open to this coordinator."), float64(m.c.crowd.Open()))
	emit(gauge("audit_lost", "Entries of the audit log that could not be written since this coordinator started."), float64(m.c.audit.Lost()))
	emit(gauge("requests_held_bytes", "Memory that requests to this coordinator take now, as it counts for the limits."), float64(m.c.api.Held()))
	serves, full := 1.0, 0.0
	if f := m.c.store.Load(); f != nil {
		serves = 0
		if errors.Is(f.err, storage.ErrFull) {
			full = 1
		}
	}
	emit(gauge("store_serves", "1 while the object store serves this coordinator, 0 while it does not answer, refuses the cluster's keys, or is full."), serves)
	emit(gauge("store_full", "1 while the object store has no room for what this coordinator writes."), full)
	m.certificates(emit)
	m.notices(v, emit)
}

type emitter func(d *prometheus.Desc, value float64, labels ...string)

func (m *collector) jobs(v *state.View, emit emitter) {
	count := map[string]float64{}
	for s := range tandemv1.JobState_name {
		if s != 0 {
			count[word(tandemv1.JobState(s).String(), "JOB_STATE_")] = 0
		}
	}
	for _, j := range v.Jobs() {
		count[word(j.GetState().String(), "JOB_STATE_")]++
	}
	each(count, gauge("jobs", "Jobs by state.", "state"), emit)
	steps, samples := map[string]float64{}, map[string]float64{} // by job: those of a sweep are the sum over its trials
	for _, t := range v.TrialsIn("", tandemv1.TrialState_TRIAL_STATE_RUNNING) {
		if p := m.c.board.Progress(t.GetId(), t.GetGeneration()); p != nil {
			steps[t.GetJobId()] += p.GetStepsPerSecond()
			samples[t.GetJobId()] += p.GetSamplesPerSecond()
		}
	}
	each(steps, gauge("steps_per_second", "Optimizer steps a second of a job that trains, over all its trials.", "job"), emit)
	each(samples, gauge("samples_per_second", "Rows a second of a job that trains, over all its trials and workers.", "job"), emit)
	emit(gauge("queue_length", "Trials that wait for slots."), float64(len(v.TrialsIn("", tandemv1.TrialState_TRIAL_STATE_PENDING))))
	replicas := gauge("replicas", "Replicas by model and state.", "model", "state")
	for _, d := range v.Deployments() {
		byState := map[string]float64{"starting": 0, "ready": 0, "failed": 0}
		for _, r := range v.ReplicasOf(d.GetName()) {
			byState[word(r.GetState().String(), "REPLICA_STATE_")]++
		}
		for _, s := range slices.Sorted(maps.Keys(byState)) {
			emit(replicas, byState[s], d.GetName(), s)
		}
	}
}

func (m *collector) nodes(v *state.View, emit emitter) {
	count := map[string]float64{"alive": 0, "lost": 0}
	total, used := map[string]float64{}, map[string]float64{}
	for _, n := range v.Nodes() {
		count[word(n.GetState().String(), "NODE_STATE_")]++
		if n.GetState() == tandemv1.NodeState_NODE_STATE_ALIVE {
			total[n.GetPool()] += float64(len(n.GetSlots()))
			used[n.GetPool()] += float64(len(state.UsageOf(v, n.GetId())))
		}
	}
	each(count, gauge("nodes", "Nodes by state.", "state"), emit)
	each(total, gauge("slots", "Slots of nodes that are alive, by pool.", "pool"), emit)
	each(used, gauge("slots_used", "Slots in use, by pool.", "pool"), emit)
}

func (m *collector) certificates(emit emitter) {
	ends := gauge("certificate_expiry_timestamp_seconds", "When a certificate of this coordinator ends, in seconds since 1970: its own, and that of the CA that signs.", "certificate")
	emit(ends, float64(m.c.ca.Load().Certificate.NotAfter.Unix()), "ca")
	if leaf, err := m.c.creds.Get().Leaf(); err == nil {
		emit(ends, float64(leaf.NotAfter.Unix()), "node")
	}
}

// notices count what an operator was told to see to.
func (m *collector) notices(v *state.View, emit emitter) {
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
	emit(gauge("clocks_off", "Nodes and coordinators whose clock differs from the coordinators' by five minutes or more."), off)
	each(ending, gauge("certificates_ending", "Certificates that were not renewed and end soon: 30 days before, that of the CA 180 days.", "of"), emit)
}

func (m *collector) raft(v *state.View, emit emitter) {
	n := m.c.node
	leads := 0.0
	if n.IsLeader() {
		leads = 1
	}
	emit(gauge("raft_is_leader", "1 on the leader, else 0."), leads)
	emit(gauge("raft_applied_index", "Index of the last command applied."), float64(n.AppliedIndex()))
	emit(gauge("raft_term", "Term of Raft."), float64(n.Term()))
	emit(gauge("raft_peers", "Coordinators in the Raft cluster."), float64(len(n.Peers())))
	alive := 0.0
	for _, c := range v.Coordinators() {
		if c.GetAlive() {
			alive++
		}
	}
	emit(gauge("raft_peers_alive", "Coordinators that answered the leader when it looked last."), alive)
}

func each(values map[string]float64, d *prometheus.Desc, emit emitter) {
	for _, label := range slices.Sorted(maps.Keys(values)) {
		emit(d, values[label], label)
	}
}

// word is the name of a state in lower case.
func word(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }
