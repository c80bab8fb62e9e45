package fsm_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/state"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// projects returns the projects of all rows that have one, by kind.
func projects(s *state.State) map[string][]string {
	all := map[string][]string{}
	for _, kind := range schema.Rows() {
		for _, row := range s.View().Rows(kind) {
			if f := row.ProtoReflect().Descriptor().Fields().ByName("project"); f != nil {
				name := string(kind.Record.Name())
				all[name] = append(all[name], row.ProtoReflect().Get(f).String())
			}
		}
	}
	return all
}

// TestEverythingHasAProject: what is made is of the default project, whatever a command says, and what a snapshot of the first release
// has is too.
func TestEverythingHasAProject(t *testing.T) {
	s, apply := applied(t)
	apply(`1 op create_cluster {"cluster": {"id": "cluster-1"}}`)
	apply(`1 op put_token {"token": {"id": "token-1", "name": "ann", "sha256": "s", "role": "admin", "project": "vision"}}`)
	apply(`1 op create_dataset {"dataset": {"id": "data-1", "name": "d", "prefix": "p", "project": "vision"}}`)
	apply(`1 op register_node {"node": {"id": "node-a", "incarnation": 1, "slots": [{"id": "cpu0"}]}}`)
	apply(`1 op create_job {"job": {"id": "job-1", "project": "vision", "kind": "JOB_KIND_TRAIN",
		"spec": {"dataset_id": "data-1", "resources": {"workers": 1}, "publish": {"model": "digits"}}}, "trial": {"id": "trial-1"}}`)
	apply(`2 op apply_plan {"allocations": [{"id": "alloc-1", "trial_id": "trial-1",
		"members": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`)
	apply(`3 node-a apply_reports {"node_id": "node-a", "incarnation": 1,
		"reports": [{"engine_id": "alloc-1/0", "generation": 1, "ready": {}}]}`)
	apply(`3 op reform_allocation {"allocation_id": "alloc-1", "form": [0]}`)
	apply(`4 node-a apply_reports {"node_id": "node-a", "incarnation": 1, "ids": ["ckpt-1", ""], "reports": [
		{"engine_id": "alloc-1/0", "generation": 1, "checkpoint": {"checkpoint": {"step": 1, "prefix": "p", "manifest_sha256": "s"}}},
		{"engine_id": "alloc-1/0", "generation": 1, "finished": {}}]}`)
	apply(`5 op apply_plan {"allocations": [{"id": "alloc-2", "trial_id": "trial-1", "generation": 2,
		"members": [{"node_id": "node-a", "slot_id": "cpu0"}]}]}`)
	apply(`6 node-a apply_reports {"node_id": "node-a", "incarnation": 1, "reports": [
		{"engine_id": "alloc-2/0", "generation": 2, "ready": {}},
		{"engine_id": "alloc-2/0", "generation": 2, 
			"version": {"version_id": "` + state.VersionID("alloc-2") + `", "manifest_sha256": "s"}}]}`)
	apply(`7 op put_deployment {"deployment": {"name": "digits", "replicas": 1, "project": "vision"}}`)
	records := records(t, snapshotOf(t, s))
	old := state.New() // from a snapshot without projects
	for _, rec := range records {
		row := rec.ProtoReflect().Get(rec.ProtoReflect().WhichOneof(rec.ProtoReflect().Descriptor().Oneofs().ByName("record"))).Message()
		if f := row.Descriptor().Fields().ByName("project"); f != nil {
			row.Clear(f)
		}
	}
	if err := format.Restore(old, bytes.NewReader(joined(t, records...))); err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]*state.State{"made": s, "restored": old} {
		got := projects(s)
		for _, kind := range []string{"job", "dataset", "model", "version", "deployment", "token"} {
			if len(got[kind]) != 1 || got[kind][0] != "default" {
				t.Errorf("%s: the projects of rows %s are %q", what, kind, got[kind])
			}
		}
	}
}

// TestNamesAreOfTheirProject: two projects have models, deployments and datasets of one name side by side, also in a snapshot, and who
// asks for a name alone gets that of the default project.
func TestNamesAreOfTheirProject(t *testing.T) {
	s := state.New()
	tx := s.Begin()
	for i, project := range []string{"default", "vision"} {
		for _, row := range []proto.Message{
			&tandemv1.Model{Name: "digits", Project: project, LatestVersion: int64(i + 1)},
			&tandemv1.Version{Id: "version-" + project, Model: "digits", Project: project, Number: int64(i + 1)},
			&tandemv1.Deployment{Name: "digits", Project: project, Replicas: int32(i + 1)},
			&tandemv1.Dataset{Id: "data-" + project, Name: "d", Project: project, Version: 1},
		} {
			tx.Put(row)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	restored := state.New()
	if err := format.Restore(restored, bytes.NewReader(snapshotOf(t, s))); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*state.State{s, restored} {
		for i, project := range []string{"default", "vision"} {
			v := s.View()
			m, _ := v.Model(state.Key(project, "digits"))
			d, _ := v.Deployment(state.Key(project, "digits"))
			if m.GetLatestVersion() != int64(i+1) || d.GetReplicas() != int32(i+1) {
				t.Errorf("project %s: %v, %v", project, m, d)
			}
			if versions := v.VersionsOf(state.Key(project, "digits")); len(versions) != 1 || versions[0].GetId() != "version-"+project {
				t.Errorf("project %s: %v", project, versions)
			}
			if datasets := v.DatasetsOf(state.Key(project, "d")); len(datasets) != 1 || datasets[0].GetId() != "data-"+project {
				t.Errorf("project %s: %v", project, datasets)
			}
		}
		if m, _ := s.View().Model("digits"); m.GetProject() != "default" {
			t.Errorf("the model of the name alone is %v", m)
		}
	}
}
