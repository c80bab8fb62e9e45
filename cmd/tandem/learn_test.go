package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// known is the user's context as the file has it.
func (u *user) known() client.Context {
	u.t.Helper()
	file, err := client.Load(u.env["TANDEM_CONFIG"]) // it refuses a file that others can read
	if err != nil {
		u.t.Fatal(err)
	}
	c, err := file.Get("test")
	if err != nil {
		u.t.Fatal(err)
	}
	return c
}

func TestCoordinatorsAreRemembered(t *testing.T) {
	ca := newAuthority(t)
	heir := ca.serve(t, &fake{jobs: []*tandemv1.Job{{Id: "job-1", Name: "inherited"}}})
	founder := &fake{}
	address := ca.serve(t, founder)
	u := newUser(t, ca.pem, address)
	names := func(text string) { founder.named = func() string { return text } }

	names(address)
	u.want(u.run("list"), exitOK)
	if got := u.known().Coordinators; got != nil {
		t.Errorf("a cluster of one coordinator has also %v", got)
	}
	names(heir + "," + address + ",127.0.0.1:3,nonsense,:4, 127.0.0.1:5 x")
	u.want(u.run("list"), exitOK)
	names(heir + "," + address)
	u.want(u.run("list"), exitOK)
	if diff := cmp.Diff([]string{address, heir}, u.known().Reach()); diff != "" {
		t.Errorf("what is tried (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{address}, u.known().Endpoints); diff != "" {
		t.Errorf("what the user gave (-want +got):\n%s", diff)
	}
	u.want(u.run("context", "list"), exitOK, address+", "+heir)

	// The founder's address is left with nobody behind it.
	file, err := client.Load(u.env["TANDEM_CONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	c := u.known()
	c.Endpoints = []string{"127.0.0.1:1"}
	file.Put(c)
	if err := file.Save(); err != nil {
		t.Fatal(err)
	}
	u.want(u.run("list"), exitOK, "inherited")
	c.Answered = heir // and nothing else changes by an answer that names nobody
	if diff := cmp.Diff(c, u.known()); diff != "" {
		t.Errorf("the context (-want +got):\n%s", diff)
	}
}

// TestLeaderlessCoordinator: the first coordinator of the context has no leader. What it says that it has not done is asked of the
// next one, whatever it is, and from then on that one is asked first.
func TestLeaderlessCoordinator(t *testing.T) {
	ca := newAuthority(t)
	cutOff, fine := &fake{leaderless: true}, &fake{}
	first, second := ca.serve(t, cutOff), ca.serve(t, fine)
	u := newUser(t, ca.pem, first, second)
	u.want(u.run("token", "create", "ann"), exitOK, "tdm_new")
	if len(cutOff.tokens) != 1 || len(fine.tokens) != 1 {
		t.Fatalf("asked %d and %d times", len(cutOff.tokens), len(fine.tokens))
	}
	u.want(u.run("token", "create", "bob"), exitOK)
	if len(cutOff.tokens) != 1 {
		t.Error("the one without a leader is asked first again")
	}
	// The other one is gone, and a third never was there: it is said that one answers, and what is wrong with it.
	lost := newUser(t, ca.pem, "127.0.0.1:1", first, "127.0.0.1:2")
	lost.patience.Leading = 0
	lost.want(lost.run("token", "create", "eve"), exitUnreachable, "1 of 3 coordinators of context", "answers, and cannot serve without the others (the coordinators have no leader)", "start another one of 127.0.0.1:1")
	if strings.Contains(lost.err.String(), "no coordinator answers") {
		t.Errorf("one does:\n%s", lost.err.String())
	}
}

// TestCoordinatorsAreKnownAtOnce loses the only coordinator of the context within one command.
func TestCoordinatorsAreKnownAtOnce(t *testing.T) {
	ca := newAuthority(t)
	done := tandemv1.JobState_JOB_STATE_COMPLETED
	heir := ca.serve(t, &fake{watch: func(_ context.Context, _ string, send func(*tandemv1.WatchJobResponse) error) error {
		return send(ended(done, ""))
	}})
	founder := &fake{named: func() string { return heir }}
	founder.watch = func(_ context.Context, _ string, send func(*tandemv1.WatchJobResponse) error) error {
		if err := send(ended(tandemv1.JobState_JOB_STATE_RUNNING, "")); err != nil {
			return err
		}
		panic(http.ErrAbortHandler)
	}
	u := newUser(t, ca.pem, ca.serve(t, founder))
	u.want(u.run("wait", "job-1"), exitOK, "completed")
}

func TestCoordinatorsAreNotRemembered(t *testing.T) {
	ca := newAuthority(t)
	address := ca.serve(t, &fake{named: func() string { return "127.0.0.1:3" }})
	u := newUser(t, ca.pem, address)
	before, err := os.ReadFile(u.env["TANDEM_CONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	u.env["TANDEM_ENDPOINT"], u.env["TANDEM_TOKEN"], u.env["TANDEM_CA"] = address, secret, write(t, u.dir, "ca.pem", ca.pem)
	u.want(u.run("list"), exitOK)
	after, err := os.ReadFile(u.env["TANDEM_CONFIG"])
	if err != nil || string(after) != string(before) {
		t.Errorf("a context of the environment changed the file (%v):\n%s", err, after)
	}
	// Another cluster has the name by now.
	stale := u.known()
	stale.Token, stale.Coordinators = "tdm_other", []string{"127.0.0.1:3"}
	if err := client.Remember(u.env["TANDEM_CONFIG"], stale); err != nil || u.known().Coordinators != nil {
		t.Errorf("%v; what was learned of another context is in the file: %v", err, u.known().Coordinators)
	}
}

// TestLateIsNotAbsent asks coordinators that are there, but do not answer before the user has had enough.
func TestLateIsNotAbsent(t *testing.T) {
	ca := newAuthority(t)
	asked := make(chan struct{}, 100)
	f := &fake{get: func(string) (*tandemv1.GetJobResponse, error) {
		asked <- struct{}{}
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("no leader"))
	}}
	f.rest = func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}
	f.watch = func(ctx context.Context, _ string, _ func(*tandemv1.WatchJobResponse) error) error {
		<-ctx.Done()
		return ctx.Err()
	}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.patience.Leading, u.patience.Silent = time.Hour, time.Hour
	for _, args := range [][]string{{"describe", "job-1"}, {"api", "/v1/jobs"}} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		u.want(u.runContext(ctx, args...), exitInterrupted)
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		u.want(u.runContext(ctx, args...), exitTimeout, "the answer did not come in time")
		cancel()
		if strings.Contains(u.err.String(), "no coordinator") {
			t.Errorf("%v: a coordinator was there:\n%s", args, u.err.String())
		}
		for len(asked) > 0 {
			<-asked
		}
	}
	u.want(u.run("wait", "job-1", "--timeout", "50ms"), exitTimeout, "--timeout is over")
	// One that says that it cannot serve is not silent either.
	u.patience.Leading = 0
	u.want(u.run("describe", "job-1"), exitUnreachable, "cannot serve now: no leader")
	if strings.Contains(u.err.String(), "no coordinator answers") {
		t.Errorf("a coordinator did answer:\n%s", u.err.String())
	}
}

func TestListSaysThatThereAreMore(t *testing.T) {
	ca := newAuthority(t)
	u := newUser(t, ca.pem, ca.serve(t, &fake{jobs: []*tandemv1.Job{{Id: "job-3"}, {Id: "job-2"}, {Id: "job-1"}}}))
	u.want(u.run("list", "--limit", "2"), exitOK, "job-2", "newest 2", "--limit")
	if strings.Contains(u.out.String(), "job-1") {
		t.Errorf("three jobs are shown:\n%s", u.out.String())
	}
	u.want(u.run("list", "--limit", "3"), exitOK, "job-1")
	if u.err.Len() > 0 {
		t.Errorf("there are no more, but: %s", u.err.String())
	}
	u.want(u.run("list", "--limit", "0"), exitUsage, "--limit")
}

func TestStoreNamesItsKeys(t *testing.T) {
	u := newUser(t, "", "127.0.0.1:1")
	dir := filepath.Join(u.dir, "objects")
	u.want(u.run("store", "--dir", dir), exitUsage, "TANDEM_STORE_ACCESS_KEY", "TANDEM_STORE_SECRET_KEY")
}

// TestCallsThatAreCutOff: a coordinator that ends in the middle of a call has not been interrupted by the user. The next one is asked what
// can be asked twice; of the rest it is said that it may have been done.
func TestCallsThatAreCutOff(t *testing.T) {
	ca := newAuthority(t)
	cut := func() error { return connect.NewError(connect.CodeCanceled, errors.New("stream reset")) }
	asked := 0
	f := &fake{submit: func(*tandemv1.SubmitJobRequest) (*tandemv1.SubmitJobResponse, error) {
		if asked++; asked < 3 {
			return nil, cut()
		}
		return &tandemv1.SubmitJobResponse{Job: &tandemv1.Job{Id: "job-1"}}, nil
	}}
	f.cut = cut
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("submit", "-f", write(t, u.dir, "job.yaml", aSpec)), exitOK, "job-1 submitted")
	u.want(u.run("token", "create", "bot", "--role", "viewer"), exitUnreachable, "ended in the middle of the call", "may have been done")
	if len(f.tokens) != 1 {
		t.Errorf("what is not to be done twice was asked %d times", len(f.tokens))
	}
}
