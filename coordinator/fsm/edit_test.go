package fsm_test

import (
	"testing"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestPartsOfACommandSeeEachOther: what one part of a command has changed in a row is kept by the next that changes it.
func TestPartsOfACommandSeeEachOther(t *testing.T) {
	s, apply := applied(t)
	apply(`1 op create_dataset {"dataset": {"id": "data-1", "name": "d", "prefix": "p"}}`)
	apply(`1 op register_node {"node": {"id": "node-a", "incarnation": 1, "slots": [{"id": "cpu0"}]}}`)
	apply(`1 op create_job {"job": {"id": "job-1", "kind": "JOB_KIND_TRAIN", "spec": {"dataset_id": "data-1", "resources": {"workers": 1}}},
		"trial": {"id": "trial-1"}}`)
	apply(`2 op apply_plan {"allocations": [{"id": "alloc-1", "trial_id": "trial-1",
		"members": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`)
	apply(`3 node-a apply_reports {"node_id": "node-a", "incarnation": 1, "leaving": true,
		"reports": [{"engine_id": "alloc-1/0", "generation": 1, "failed": {"message": "no libtorch", "node_fault": true}}]}`)
	n, _ := s.View().Node("node-a")
	if n.GetState() != tandemv1.NodeState_NODE_STATE_LOST || n.GetFault().GetWhy().GetArgs()["text"] != "no libtorch" {
		t.Errorf("the node has stopped and could not run an engine, and the state says %v", n)
	}
}

// TestJobsFollowTheirTrials: whatever changes a trial, its job and its sweep say the same after the command.
func TestJobsFollowTheirTrials(t *testing.T) {
	s, apply := applied(t)
	apply(`1 op create_dataset {"dataset": {"id": "data-1", "name": "d", "prefix": "p"}}`)
	apply(`1 op create_job {"job": {"id": "job-1", "kind": "JOB_KIND_TRAIN", "spec": {"dataset_id": "data-1", "resources": {"workers": 1}}},
		"trial": {"id": "trial-1"}}`)
	apply(`1 op register_node {"node": {"id": "node-a", "incarnation": 1, "slots": [{"id": "cpu0"}]}}`)
	apply(`1 op apply_plan {"allocations": [{"id": "alloc-1", "trial_id": "trial-1",
		"members": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`)
	j, _ := s.View().Job("job-1")
	if j.GetState() != tandemv1.JobState_JOB_STATE_RUNNING || j.GetWhy().GetCode() != tandemv1.Reason_CODE_STARTING {
		t.Errorf("its trial has slots, and the job is %v", j)
	}
	apply(`1 op lose_node {"node_id": "node-a", "incarnation": 1}`)
	apply(`2 op set_job_intent {"job_id": "job-1", "intent": "JOB_INTENT_PAUSE"}`)
	j, _ = s.View().Job("job-1")
	if j.GetState() != tandemv1.JobState_JOB_STATE_PAUSED || j.GetWhy().GetCode() != tandemv1.Reason_CODE_PAUSED {
		t.Errorf("its trial is paused, and the job is %v", j)
	}
	apply(`3 op set_job_intent {"job_id": "job-1", "intent": "JOB_INTENT_CANCEL"}`)
	if j, _ := s.View().Job("job-1"); j.GetState() != tandemv1.JobState_JOB_STATE_CANCELLED || j.GetFinishedAt() == nil {
		t.Errorf("its trial is cancelled, and the job is %v", j)
	}
}
