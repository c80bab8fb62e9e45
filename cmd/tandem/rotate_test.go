package main

import (
	"context"
	"crypto/tls"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// fakeRotation is a cluster whose CA is being replaced. Once it has finished, it serves by the new one alone.
type fakeRotation struct {
	tandemv1connect.UnimplementedClusterServiceHandler
	both, now   string // PEM
	certificate *tls.Certificate
	finished    atomic.Bool
	mute        bool   // it does not name its CAs
	before      func() // it finishes
}

func (f *fakeRotation) GetCluster(context.Context, *connect.Request[tandemv1.GetClusterRequest]) (*connect.Response[tandemv1.GetClusterResponse], error) {
	pem := f.both
	switch {
	case f.mute:
		pem = ""
	case f.finished.Load():
		pem = f.now
	}
	return connect.NewResponse(&tandemv1.GetClusterResponse{Rotation: &tandemv1.Rotation{CaPem: pem}}), nil
}

func (f *fakeRotation) RotateKeys(_ context.Context, r *connect.Request[tandemv1.RotateKeysRequest]) (*connect.Response[tandemv1.RotateKeysResponse], error) {
	if !r.Msg.GetFinish() {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("it has begun"))
	}
	f.before()
	f.finished.Store(true)
	return connect.NewResponse(&tandemv1.RotateKeysResponse{}), nil
}

// TestFinishKeepsTheWayIn: whoever ends the trust in the former CA still reaches the cluster afterwards, by the new CA alone; where that
// cannot be, the former one stays.
func TestFinishKeepsTheWayIn(t *testing.T) {
	old, heir := newAuthority(t), newAuthority(t)
	f := &fake{rotation: &fakeRotation{both: old.pem + heir.pem, now: heir.pem, certificate: heir.issue(t), mute: true}}
	address := old.serve(t, f)
	u := newUser(t, old.pem, address)
	file, err := client.Load(u.env["TANDEM_CONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	file.Put(client.Context{Name: "viewer", Endpoints: []string{address}, CA: old.pem, Token: "tdm_viewer"})
	file.Put(client.Context{Name: "other", Endpoints: []string{address}, CA: newAuthority(t).pem, Token: "tdm_other"})
	other := file.Contexts[2].CA
	if err := file.Save(); err != nil {
		t.Fatal(err)
	}
	finish := []string{"cluster", "rotate-ca", "--finish", "-y"}
	f.rotation.before = func() { t.Error("the former CA is ended, and the context does not trust the new one") }
	u.want(u.run(finish...), exitError, "the former CA stays", "does not name its CA")
	f.rotation.mute = false

	script := &user{t: t, dir: u.dir, patience: u.patience, env: map[string]string{
		"TANDEM_CONFIG": filepath.Join(u.dir, "none.yaml"), "TANDEM_ENDPOINT": address, "TANDEM_TOKEN": secret, "TANDEM_CA": write(t, u.dir, "ca.pem", old.pem),
	}}
	script.want(script.run(finish...), exitUsage, "rotation.caPem")

	f.rotation.before = func() {
		if ca := u.known().CA; ca != old.pem+heir.pem {
			t.Errorf("before the end the context trusts\n%s", ca)
		}
	}
	u.want(u.run(finish...), exitOK, "is not trusted any more")
	file, err = client.Load(u.env["TANDEM_CONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{heir.pem, heir.pem, other} {
		if c := file.Contexts[i]; c.CA != want {
			t.Errorf("context %s trusts\n%s", c.Name, c.CA)
		}
	}
	u.want(u.run("list"), exitOK)
	// Somebody who has not refreshed is told of that, and what to do.
	script.want(script.run("list"), exitError, "its CA was replaced", "the file that TANDEM_CA names")
	late := newUser(t, old.pem, address)
	late.want(late.run("list"), exitError, "its CA was replaced",
		"tandem context add test --endpoint "+address+" --ca-file <data-dir>/pki/ca.pem --token-file test.token")
	// For a script it is enough that its file has both.
	f.rotation.finished.Store(false)
	f.rotation.before = func() {}
	script.env["TANDEM_CA"] = write(t, u.dir, "both.pem", old.pem+heir.pem)
	script.want(script.run(finish...), exitOK)
}
