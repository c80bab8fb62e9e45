package coordinator

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/prom"
)

// raft is how far this coordinator's log is, and who keeps it.
func (m *collector) raft(e emitter, v *state.View) {
	at := m.c.node.Standing()
	e.put(desc(prom.Coordinator, "raft_is_leader", "1 on the leader, else 0."), number(m.c.node.IsLeader()))
	e.put(desc(prom.Coordinator, "raft_term", "Term of Raft."), float64(m.c.node.Term()))
	e.put(desc(prom.Coordinator, "raft_last_index", "Index of the newest entry of the log."), float64(at.Last))
	e.put(desc(prom.Coordinator, "raft_commit_index", "Index of the newest entry that is known to be on the disks of a majority."), float64(at.Committed))
	e.put(desc(prom.Coordinator, "raft_applied_index", "Index of the newest command applied."), float64(m.c.node.AppliedIndex()))
	e.put(desc(prom.Coordinator, "raft_snapshot_index", "Index of the newest entry that the newest snapshot has; 0: there is none yet."), float64(at.Snapshot))
	e.put(desc(prom.Coordinator, "raft_snapshot_size_bytes", "Size of the newest snapshot."), float64(at.SnapshotBytes))
	e.put(desc(prom.Coordinator, "raft_leader_silence_seconds", "How long ago this coordinator heard from a leader; 0 on the leader."), at.Silence.Seconds())
	e.put(desc(prom.Coordinator, "raft_disk_stalled", "1 while the disk under the data folder takes no writes and this coordinator waits for it, else 0."), number(m.c.node.Disk() != nil))
	e.put(desc(prom.Cluster, "raft_peers", "Coordinators in the Raft cluster."), float64(len(m.c.node.Peers())))
	alive := 0.0
	for _, c := range v.Coordinators() {
		alive += number(c.GetAlive())
	}
	e.put(desc(prom.Cluster, "raft_peers_alive", "Coordinators that answered the leader when it looked last."), alive)
}

// commitTimes counts how long commands took.
func commitTimes(r prometheus.Registerer) func(time.Duration) {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: prom.Namespace, Name: "raft_commit_duration_seconds",
		Help:    prom.Coordinator.Help("Time from the proposal of a command on this leader until it is on the disks of a majority and applied."),
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	})
	r.MustRegister(h)
	return func(took time.Duration) { h.Observe(took.Seconds()) }
}
