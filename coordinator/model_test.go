package coordinator

import (
	"testing"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// TestModelWithoutAVersion: it is one version, whether it is looked up or served, and both say which.
func TestModelWithoutAVersion(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	a := newAgent(t, r)
	s := a.session(t.Context(), a.node(4))
	models, serving := tandemv1connect.NewModelServiceClient(c, r.url()), tandemv1connect.NewDeploymentServiceClient(c, r.url())
	for range 2 {
		a.publish(r, s, tandemv1connect.NewJobServiceClient(c, r.url()))
	}
	got, err := models.GetModel(t.Context(), connect.NewRequest(&tandemv1.GetModelRequest{Name: "toy"}))
	if err != nil || len(got.Msg.GetVersions()) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	for _, v := range got.Msg.GetVersions() {
		if err := r.store.PutIfAbsent(t.Context(), v.GetPrefix()+"/manifest.json", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	check := func(ref string, version int64, target string) {
		t.Helper()
		res, err := models.GetVersion(t.Context(), connect.NewRequest(&tandemv1.GetVersionRequest{Version: ref}))
		if err != nil {
			t.Fatal(err)
		}
		if res.Msg.GetVersion().GetNumber() != version || res.Msg.GetTarget() != target {
			t.Errorf("%s is version %d by %q, want %d by %q", ref, res.Msg.GetVersion().GetNumber(), res.Msg.GetTarget(), version, target)
		}
	}
	served := func(version int64, target string) {
		t.Helper()
		res, err := serving.ApplyDeployment(t.Context(), connect.NewRequest(&tandemv1.ApplyDeploymentRequest{Model: "toy", Replicas: 1}))
		if err != nil {
			t.Fatal(err)
		}
		if d := res.Msg.GetDeployment(); d.GetVersion() != version || d.GetTarget() != target {
			t.Errorf("version %d is served by %q, want %d by %q", d.GetVersion(), d.GetTarget(), version, target)
		}
	}
	check("toy", 2, "2")
	served(2, "2")
	if _, err := models.SetAlias(t.Context(), connect.NewRequest(&tandemv1.SetAliasRequest{Model: "toy", Alias: "champion", Version: 1})); err != nil {
		t.Fatal(err)
	}
	check("toy", 1, "champion")
	served(1, "champion")
	check("toy@2", 2, "")
	check("toy@champion", 1, "")
	check(got.Msg.GetVersions()[0].GetId(), 2, "")
}
