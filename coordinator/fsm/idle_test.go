package fsm_test

import (
	"fmt"
	"slices"
	"testing"

	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// applied is a state and what applies lines to it that must be taken.
func applied(t *testing.T) (*state.State, func(line string)) {
	s, m := machine(t)
	index := uint64(0)
	return s, func(line string) {
		t.Helper()
		cmd, err := parseCommand(line)
		if err != nil {
			t.Fatal(err)
		}
		index++
		if res := m.Apply(entry(t, index, cmd)).(*tandemv1.Result); res.GetRefusal() != 0 || slices.ContainsFunc(res.GetPartWhys(), func(why *tandemv1.Reason) bool { return why.GetCode() != 0 }) {
			t.Fatalf("%s: %v", line, res)
		}
	}
}

// TestFaultsThatDoNotCountEnd: groups that break for ever end the job, but not while steps or checkpoints come.
func TestFaultsThatDoNotCountEnd(t *testing.T) {
	s, apply := applied(t)
	report := func(generation int, what string) {
		apply(fmt.Sprintf(`3 node-a apply_reports {"node_id": "node-a", "incarnation": 1, "ids": ["ckpt-%d"], "reports": [{"engine_id": "alloc-1/0", "generation": %d, %s}]}`, generation, generation, what))
	}
	apply(`1 op create_dataset {"dataset": {"id": "data-1", "name": "d", "prefix": "p"}}`)
	apply(`1 op register_node {"node": {"id": "node-a", "incarnation": 1, "slots": [{"id": "cpu0"}]}}`)
	apply(`1 op create_job {"job": {"id": "job-1", "kind": "JOB_KIND_TRAIN", "spec": {"dataset_id": "data-1", "max_restarts": 0, "resources": {"workers": 1}}}, "trial": {"id": "trial-1"}}`)
	apply(`2 op apply_plan {"allocations": [{"id": "alloc-1", "trial_id": "trial-1", "members": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`)
	report(1, `"ready": {}`)
	const stepped, checkpointed, last = 15, 30, 30 + 20
	for g := 1; g <= last; g++ {
		trial, _ := s.View().Trial("trial-1")
		if trial.GetState() != tandemv1.TrialState_TRIAL_STATE_RUNNING || trial.GetRestarts() != 0 {
			t.Fatalf("before generation %d: %v", g, trial)
		}
		apply(fmt.Sprintf(`2 op reform_allocation {"allocation_id": "alloc-1", "generation": %d, "form": [0]}`, g-1))
		step := 0
		switch {
		case g == checkpointed:
			report(g, `"checkpoint": {"checkpoint": {"step": 5, "prefix": "p", "manifest_sha256": "s"}}`)
			report(g, `"formed": {"step": 5}`)
		case g >= stepped:
			step = 5
		}
		report(g, fmt.Sprintf(`"broken": {"step": %d, "message": "another rank was lost"}`, step))
	}
	apply(fmt.Sprintf(`2 op reform_allocation {"allocation_id": "alloc-1", "generation": %d, "form": [0]}`, last))
	job, _ := s.View().Job("job-1")
	if job.GetState() != tandemv1.JobState_JOB_STATE_FAILED || job.GetWhy().GetCode() != tandemv1.Reason_CODE_NO_PROGRESS || job.GetWhy().GetArgs()["generations"] != "20" {
		t.Errorf("%v", job)
	}
}

// TestWhatEachAttemptStoresAgainIsNoProgress: an engine that comes to the end, stores its last step once more and dies uses up max_restarts.
func TestWhatEachAttemptStoresAgainIsNoProgress(t *testing.T) {
	s, apply := applied(t)
	apply(`1 op create_dataset {"dataset": {"id": "data-1", "name": "d", "prefix": "p"}}`)
	apply(`1 op register_node {"node": {"id": "node-a", "incarnation": 1, "slots": [{"id": "cpu0"}]}}`)
	apply(`1 op create_job {"job": {"id": "job-1", "kind": "JOB_KIND_TRAIN", "spec": {"dataset_id": "data-1", "max_restarts": 2, "resources": {"workers": 1}}}, "trial": {"id": "trial-1"}}`)
	attempts, generation := 0, int64(0)
	for now := 10; ; now += 10 {
		if trial, _ := s.View().Trial("trial-1"); trial.GetState() != tandemv1.TrialState_TRIAL_STATE_PENDING {
			break
		}
		if attempts++; attempts > 10 {
			t.Fatal("it goes on for ever")
		}
		id := fmt.Sprintf("alloc-%d", attempts)
		apply(fmt.Sprintf(`%d op apply_plan {"allocations": [{"id": %q, "trial_id": "trial-1", "generation": %d, "members": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`, now, id, generation))
		report := func(generation int64, what string) {
			apply(fmt.Sprintf(`%d node-a apply_reports {"node_id": "node-a", "incarnation": 1, "ids": ["ckpt-%d"], "reports": [{"engine_id": "%s/0", "generation": %d, %s}]}`, now+1, attempts, id, generation, what))
		}
		report(generation+1, `"ready": {}`)
		apply(fmt.Sprintf(`%d op reform_allocation {"allocation_id": %q, "generation": %d, "form": [0]}`, now+2, id, generation))
		alloc, _ := s.View().Allocation(id)
		generation = alloc.GetGeneration()
		report(generation, `"formed": {"step": 5}`)
		report(generation, fmt.Sprintf(`"checkpoint": {"checkpoint": {"step": 5, "prefix": "p%d", "manifest_sha256": "s"}}`, attempts))
		report(generation, `"failed": {"message": "the engine died of SIGSEGV"}`)
	}
	job, _ := s.View().Job("job-1")
	if job.GetState() != tandemv1.JobState_JOB_STATE_FAILED || job.GetWhy().GetCode() != tandemv1.Reason_CODE_RESTARTS_USED_UP || attempts != 3 {
		t.Errorf("after %d attempts: %v", attempts, job)
	}
}
