package fsm_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/coordinator/state"
)

// TestUsage: the time that slots were held is added to the days on which it was, for each project and user; nothing below the level, and
// not for ever.
func TestUsage(t *testing.T) {
	s, apply := applied(t)
	job := func(id, user, slot string, from, until int64) {
		t.Helper()
		apply(fmt.Sprintf(`%d %s create_job {"job": {"id": "job-%s", "project": "vision", "submitted_by": "%s", "kind": "JOB_KIND_TRAIN",
			"spec": {"dataset_id": "data-1", "resources": {"workers": 1, "pool": "default"}}}, "trial": {"id": "trial-%s"}}`, from, user, id, user, id))
		apply(fmt.Sprintf(`%d op apply_plan {"allocations": [{"id": "alloc-%s", "trial_id": "trial-%s",
			"members": [{"node_id": "node-a", "slot_id": "%s"}]}]}`, from, id, id, slot))
		apply(fmt.Sprintf(`%d node-a apply_reports {"node_id": "node-a", "incarnation": 1,
			"reports": [{"engine_id": "alloc-%s/0", "generation": 1, "ready": {}}]}`, from, id))
		apply(fmt.Sprintf(`%d op reform_allocation {"allocation_id": "alloc-%s", "form": [0]}`, from, id))
		apply(fmt.Sprintf(`%d node-a apply_reports {"node_id": "node-a", "incarnation": 1,
			"reports": [{"engine_id": "alloc-%s/0", "generation": 1, "finished": {}}]}`, until, id))
	}
	held := func() map[string]int64 {
		all := map[string]int64{}
		for _, u := range state.Usages(s.View()) {
			all[u.GetId()] = u.GetSlotMilliseconds()
		}
		return all
	}
	check := func(want map[string]int64) {
		t.Helper()
		if diff := cmp.Diff(want, held()); diff != "" {
			t.Errorf("slots were held for other times: %s", diff)
		}
	}
	const hour, day = 3600, 24 * 3600
	apply(`1 op create_cluster {"cluster": {"id": "cluster-1"}}`)
	apply(`1 op create_dataset {"dataset": {"id": "data-1", "name": "d", "prefix": "p"}}`)
	apply(`1 op register_node {"node": {"id": "node-a", "pool": "default", "incarnation": 1, "slots": [{"id": "cpu0"}, {"id": "cpu1"}]}}`)
	job("1", "ann", "cpu0", 1, 5)
	check(map[string]int64{})
	apply(`6 op raise_level {"level": 2}`)
	apply(`6 op create_project {"project": {"name": "vision"}}`)
	apply(`6 op create_dataset {"dataset": {"id": "data-2", "name": "d", "prefix": "p", "project": "vision"}}`)
	job("2", "ann", "cpu0", 23*hour, 49*hour)
	job("3", "bob", "cpu1", 50*hour, 51*hour)
	job("4", "bob", "cpu1", 52*hour, 52*hour+1)
	check(map[string]int64{
		"1970-01-01/default/vision/ann": 1 * hour * 1000, "1970-01-02/default/vision/ann": day * 1000, "1970-01-03/default/vision/ann": hour * 1000,
		"1970-01-03/default/vision/bob": (hour + 1) * 1000,
	})
	job("5", "ann", "cpu0", (state.UsageDays+2)*day-hour, (state.UsageDays+2)*day-1)
	check(map[string]int64{
		"1970-01-02/default/vision/ann": day * 1000, "1970-01-03/default/vision/ann": hour * 1000, "1970-01-03/default/vision/bob": (hour + 1) * 1000,
		"1970-04-12/default/vision/ann": (hour - 1) * 1000,
	})
}
