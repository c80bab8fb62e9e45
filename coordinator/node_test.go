package coordinator

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/raft"

	"tandem.dev/coordinator/state"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/say"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage"
)

// TestRemovedNodeStaysOut: the certificate of a node that an operator removed is refused; its machine joins as a new node.
func TestRemovedNodeStaysOut(t *testing.T) {
	cfg := testConfig(t.TempDir() + "/c")
	cfg.NodeTimeout = time.Second
	r := start(t, cfg, newStore())
	c := r.admin(t)
	a := newAgent(t, r)
	ctx, gone := context.WithCancel(t.Context())
	a.await(a.session(ctx, a.node(1)), 0)
	gone()
	nodes := tandemv1connect.NewNodeServiceClient(c, r.url())
	awaitNode(t, r, a.id, tandemv1.NodeState_NODE_STATE_LOST)
	if _, err := nodes.RemoveNode(t.Context(), connect.NewRequest(&tandemv1.RemoveNodeRequest{Id: a.id})); err != nil {
		t.Fatal(err)
	}
	again := a.node(1)
	again.Incarnation = 2
	s := a.session(t.Context(), again)
	for s.Receive() {
	}
	wantCode(t, s.Err(), connect.CodePermissionDenied, "join with a new token")
	_, err := a.api.Report(t.Context(), connect.NewRequest(&tandemv1.ReportRequest{NodeId: a.id, Incarnation: 2, Reports: []*tandemv1.EngineReport{{EngineId: "x"}}}))
	wantCode(t, err, connect.CodePermissionDenied, "join with a new token")
	anew := newAgent(t, r)
	anew.await(anew.session(t.Context(), anew.node(1)), 0)
}

// TestNodeIsThrownOut: a node that is alive is removed only by force. Then what it runs is taken away, its session and its certificate end,
// and its name is free for the machine that comes after it.
func TestNodeIsThrownOut(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	a := newAgent(t, r)
	s := a.session(t.Context(), a.node(2))
	a.await(s, 0)
	jobs := tandemv1connect.NewJobServiceClient(c, r.url())
	job, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec()}))
	if err != nil {
		t.Fatal(err)
	}
	a.await(s, 2)
	nodes := tandemv1connect.NewNodeServiceClient(c, r.url())
	remove := func(id string, force bool) error {
		_, err := nodes.RemoveNode(t.Context(), connect.NewRequest(&tandemv1.RemoveNodeRequest{Id: id, Force: force}))
		return err
	}
	wantCode(t, remove("w", false), connect.CodeFailedPrecondition, "w")
	if _, ok := r.state.View().Node(a.id); !ok {
		t.Fatal("a node that is alive was removed without force")
	}
	if err := remove("w", true); err != nil {
		t.Fatal(err)
	}
	awaitState(t, r, func(v *state.View) bool { return len(v.AllocationsOf(a.id)) == 0 })
	for s.Receive() {
	}
	wantCode(t, s.Err(), connect.CodePermissionDenied, "join with a new token")
	again := a.node(2)
	again.Incarnation = 2
	back := a.session(t.Context(), again)
	for back.Receive() {
	}
	wantCode(t, back.Err(), connect.CodePermissionDenied, "join with a new token")
	res, err := jobs.GetJob(t.Context(), connect.NewRequest(&tandemv1.GetJobRequest{Id: job.Msg.GetJob().GetId()}))
	if err != nil || res.Msg.GetJob().GetState() != tandemv1.JobState_JOB_STATE_PENDING || res.Msg.GetTrials()[0].GetRestarts() != 0 {
		t.Errorf("the job: %v, %v", res, err)
	}
	// The machine joins anew under its name, and the job goes on there.
	anew := newAgent(t, r)
	tasks := anew.await(anew.session(t.Context(), anew.node(2)), 2)
	if got, err := nodes.GetNode(t.Context(), connect.NewRequest(&tandemv1.GetNodeRequest{Id: "w"})); err != nil || got.Msg.GetNode().GetNode().GetId() != anew.id {
		t.Errorf("node w is %v, %v", got, err)
	}
	if tasks[0].GetTrain().GetJobId() != job.Msg.GetJob().GetId() {
		t.Errorf("it was given %v", tasks[0])
	}
}

// TestLostDiskJoinsAgain: a machine whose disk was lost joins under its name and its address. It takes the place of its former self,
// which nobody has to remove; the former certificate is still good, for only an operator shuts somebody out.
func TestLostDiskJoinsAgain(t *testing.T) {
	cfg := testConfig(t.TempDir() + "/c")
	cfg.NodeTimeout = time.Second
	r := start(t, cfg, newStore())
	nodes := tandemv1connect.NewNodeServiceClient(r.admin(t), r.url())
	names := func() (ids []string) {
		for _, n := range r.state.View().Nodes() {
			ids = append(ids, n.GetId())
		}
		return ids
	}
	former := newAgent(t, r)
	ctx, crash := context.WithCancel(t.Context())
	former.await(former.session(ctx, former.node(1)), 0)
	if _, err := nodes.CordonNode(t.Context(), connect.NewRequest(&tandemv1.CordonNodeRequest{Id: former.id, Cordoned: true})); err != nil {
		t.Fatal(err)
	}
	crash()
	// It is back before it is missed.
	second := newAgent(t, r)
	ctx, crash = context.WithCancel(t.Context())
	second.await(second.session(ctx, second.node(1)), 0)
	awaitState(t, r, func(*state.View) bool { return slices.Equal(names(), []string{second.id}) })
	if n, _ := r.state.View().Node(second.id); !n.GetCordoned() {
		t.Error("the operator's word that it takes no work is forgotten")
	}
	// And now after it was missed.
	crash()
	awaitNode(t, r, second.id, tandemv1.NodeState_NODE_STATE_LOST)
	third := newAgent(t, r)
	ctx, crash = context.WithCancel(t.Context())
	third.await(third.session(ctx, third.node(1)), 0)
	if got := names(); !slices.Equal(got, []string{third.id}) {
		t.Errorf("nodes %v, want %s alone", got, third.id)
	}
	var said []string
	for _, e := range r.state.View().Events(0) {
		if e.GetType() == tandemv1.Event_TYPE_NODE_REPLACED {
			said = append(said, say.Event(e, say.Plain))
		}
	}
	want := func(by, old string) string {
		return "Node w at 127.0.0.1:9 has joined anew as " + by + ": the lost node of that name and address, " + old + ", is forgotten."
	}
	if !slices.Equal(said, []string{want(second.id, former.id), want(third.id, second.id)}) {
		t.Errorf("events %q", said)
	}
	// Another machine may have the same name.
	crash()
	awaitNode(t, r, third.id, tandemv1.NodeState_NODE_STATE_LOST)
	other := newAgent(t, r)
	n := other.node(1)
	n.Address = "127.0.0.1:10"
	other.await(other.session(t.Context(), n), 0)
	if got := names(); len(got) != 2 {
		t.Errorf("nodes %v, want %s and %s", got, third.id, other.id)
	}
	if back := former.session(t.Context(), former.node(1)); !back.Receive() {
		t.Errorf("a node that was forgotten is refused: %v", back.Err())
	}
}

// TestSessionSaysCordoned: an agent is told at once that no new work comes, so that what waits for some can end.
func TestSessionSaysCordoned(t *testing.T) {
	r := start(t, testConfig(t.TempDir()+"/c"), newStore())
	a := newAgent(t, r)
	s := a.session(t.Context(), a.node(1))
	a.await(s, 0)
	nodes := tandemv1connect.NewNodeServiceClient(r.admin(t), r.url())
	for _, drained := range []bool{true, false} {
		if _, err := nodes.CordonNode(t.Context(), connect.NewRequest(&tandemv1.CordonNodeRequest{Id: a.id, Cordoned: drained, Drain: drained})); err != nil {
			t.Fatal(err)
		}
		for s.Msg().GetCordoned() != drained {
			if !s.Receive() {
				t.Fatal(s.Err())
			}
		}
	}
}

// awaitNode waits until a node is in a state.
func awaitNode(t *testing.T, r *running, node string, want tandemv1.NodeState) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		v := r.state.View()
		if n, _ := v.Node(node); n.GetState() == want {
			return
		}
		if err := r.state.Wait(ctx, v.Index()); err != nil {
			t.Fatalf("node %s is not %v: %v", node, want, err)
		}
	}
}

// TestRemovedCoordinatorStaysOut: a coordinator that an operator removed gets through neither to Raft nor to the leader, and
// asks to be taken back only once.
func TestRemovedCoordinatorStaysOut(t *testing.T) {
	first := startOne(t)
	admin := first.admin(t)
	cfg := testConfig(filepath.Join(t.TempDir(), "x"))
	if err := Join(t.Context(), cfg, first.mint(t, admin, "join", "coordinator", true), []string{first.Address()}); err != nil {
		t.Fatal(err)
	}
	second := start(t, cfg, first.store)
	raftPort := func() error {
		p := &port{creds: second.creds, bound: make(chan struct{})} // second's own goes with it
		p.bind(first.node.Peers)
		conn, err := p.Dial(raft.ServerAddress(first.Address()), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
		_, err = conn.Read(make([]byte, 1))
		return err
	}
	if err := raftPort(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a coordinator was refused: %v", err)
	}
	id := second.creds.Identity.Node
	api := tandemv1connect.NewClusterServiceClient(admin, first.url())
	if _, err := api.RemovePeer(t.Context(), connect.NewRequest(&tandemv1.RemovePeerRequest{Id: id})); err != nil {
		t.Fatal(err)
	}
	if err := raftPort(); !errors.Is(err, io.EOF) {
		t.Errorf("the Raft port answered a removed coordinator: %v", err)
	}
	_, err := second.peerClient(first.Address()).ReadIndex(t.Context(), connect.NewRequest(&tandemv1.ReadIndexRequest{}))
	wantCode(t, err, connect.CodePermissionDenied, "join with a new token")
	_, err = api.AddPeer(t.Context(), connect.NewRequest(&tandemv1.AddPeerRequest{Id: id, Address: second.Address(), Learner: true, Level: schema.Known}))
	wantCode(t, err, connect.CodeFailedPrecondition, "join with a new token")
	_, err = api.RemovePeer(t.Context(), connect.NewRequest(&tandemv1.RemovePeerRequest{Id: id}))
	wantCode(t, err, connect.CodeNotFound, id)
	if _, err := second.askToJoin(t.Context(), true); err == nil || !strings.Contains(err.Error(), "join with a new token") {
		t.Errorf("a removed coordinator asks on: %v", err)
	}
	second.awaitEnd(t, "coordinator "+id+" was removed from the cluster: to use the machine again, empty its data folder and join with a new token")
}

// TestRemovedWhileDown: a coordinator that was down when it was removed has a log in which it still has a vote. At its next start it
// learns from the others that it is not wanted, and ends with what to do.
func TestRemovedWhileDown(t *testing.T) {
	first := startOne(t)
	token := first.mint(t, first.admin(t), "join", "coordinator", true)
	var last *running
	for range 2 {
		cfg := testConfig(filepath.Join(t.TempDir(), "x"))
		if err := Join(t.Context(), cfg, token, []string{first.Address()}); err != nil {
			t.Fatal(err)
		}
		last = start(t, cfg, first.store)
	}
	last.stop()
	api := tandemv1connect.NewClusterServiceClient(first.admin(t), first.url())
	id := last.creds.Identity.Node
	if _, err := api.RemovePeer(t.Context(), connect.NewRequest(&tandemv1.RemovePeerRequest{Id: id})); err != nil {
		t.Fatal(err)
	}
	again, err := New(last.cfg, Deps{OpenStore: func(*tandemv1.StorageConfig) (storage.Store, error) { return first.store, nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := again.Run(ctx); err == nil || !strings.Contains(err.Error(), "coordinator "+id+" was removed from the cluster") {
		t.Errorf("it ended with %v", err)
	}
}

// TestWhatBecomesOfCoordinators: joining, loss, return and removal are in the events and in what is told of the cluster; and one
// whose going would leave no majority is kept from the moment on in which another one is gone.
func TestWhatBecomesOfCoordinators(t *testing.T) {
	first, others := startThree(t)
	lost, other := others[0], others[1]
	api := tandemv1connect.NewClusterServiceClient(first.admin(t), first.url())
	describe := func(r *running, want func(*tandemv1.Peer) bool) {
		t.Helper()
		awaitState(t, first, func(*state.View) bool {
			res, err := api.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{}))
			return err == nil && slices.ContainsFunc(res.Msg.GetPeers(), func(p *tandemv1.Peer) bool { return p.GetId() == r.creds.Identity.Node && want(p) })
		})
	}
	describe(lost, func(p *tandemv1.Peer) bool { return p.GetAlive() && !p.GetLearner() })
	lost.stop()
	leader := first
	awaitState(t, first, func(v *state.View) bool {
		if id, _ := first.node.Leader(); id == other.creds.Identity.Node {
			leader = other
		}
		return !leader.node.Contact(lost.creds.Identity.Node).Silent.IsZero()
	})
	_, err := api.RemovePeer(t.Context(), connect.NewRequest(&tandemv1.RemovePeerRequest{Id: other.creds.Identity.Node}))
	wantCode(t, err, connect.CodeFailedPrecondition, "do not answer ("+lost.creds.Identity.Node+")")
	describe(lost, func(p *tandemv1.Peer) bool { return !p.GetAlive() })
	back := start(t, lost.cfg, first.store)
	describe(back, func(p *tandemv1.Peer) bool { return p.GetAlive() })
	if _, err := api.RemovePeer(t.Context(), connect.NewRequest(&tandemv1.RemovePeerRequest{Id: back.creds.Identity.Node})); err != nil {
		t.Fatal(err)
	}
	back.awaitEnd(t, "was removed from the cluster")
	awaitState(t, first, func(v *state.View) bool { return len(v.Coordinators()) == 2 })
	var said []string
	for _, e := range first.state.View().Events(0) {
		if e.GetSubject() == back.creds.Identity.Node {
			said = append(said, say.Event(e, say.Plain))
		}
	}
	at := 0 // how much of the joining is seen is a matter of time
	for _, want := range []string{"at " + lost.Address(), "does not answer", "is back", "was removed"} {
		i := slices.IndexFunc(said[at:], func(s string) bool { return strings.Contains(s, want) })
		if i < 0 {
			t.Fatalf("no event says that the coordinator %s, in this order: %q", want, said)
		}
		at += i
	}
}

// awaitState waits until what is looked at when the state changes, and now and then, is so.
func awaitState(t *testing.T, r *running, is func(*state.View) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		v := r.state.View()
		if is(v) {
			return
		}
		waiting, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		_ = r.state.Wait(waiting, v.Index())
		stop()
		if ctx.Err() != nil {
			t.Fatal("it is not so after 30 s")
		}
	}
}

// TestLeaderIsRemoved: also the leader can be removed, and the others go on without it.
func TestLeaderIsRemoved(t *testing.T) {
	first := startOne(t)
	token := first.mint(t, first.admin(t), "join", "coordinator", true)
	all := []*running{first}
	for range 2 {
		cfg := testConfig(filepath.Join(t.TempDir(), "x"))
		if err := Join(t.Context(), cfg, token, []string{first.Address()}); err != nil {
			t.Fatal(err)
		}
		all = append(all, start(t, cfg, first.store))
	}
	leader, _ := first.node.Leader()
	other := all[slices.IndexFunc(all, func(r *running) bool { return r.creds.Identity.Node != leader })]
	c := other.client(first.AdminToken())
	t.Cleanup(c.CloseIdleConnections)
	api := tandemv1connect.NewClusterServiceClient(c, other.url())
	if _, err := api.RemovePeer(t.Context(), connect.NewRequest(&tandemv1.RemovePeerRequest{Id: leader})); err != nil {
		t.Fatal(err)
	}
	other.mint(t, c, "after", "viewer", false)
	res, err := api.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{}))
	if err != nil || len(res.Msg.GetPeers()) != 2 {
		t.Errorf("peers %v, %v", res, err)
	}
	removed := all[slices.IndexFunc(all, func(r *running) bool { return r.creds.Identity.Node == leader })]
	removed.awaitEnd(t, "was removed from the cluster")
}

// TestAgentLeaves: a node whose agent says that it stops is given no work from then on, whatever is still heard of it.
func TestAgentLeaves(t *testing.T) {
	r := startOne(t)
	a := newAgent(t, r)
	s := a.session(t.Context(), a.node(1))
	a.await(s, 0)
	if _, err := a.api.Report(t.Context(), connect.NewRequest(&tandemv1.ReportRequest{NodeId: a.id, Incarnation: 1, Leaving: true})); err != nil {
		t.Fatal(err)
	}
	awaitNode(t, r, a.id, tandemv1.NodeState_NODE_STATE_LOST)
	a.await(a.session(t.Context(), a.node(1)), 0)
	awaitNode(t, r, a.id, tandemv1.NodeState_NODE_STATE_ALIVE)
}

// TestJoinsOneAtATime: a coordinator that joins and does not answer stops neither the cluster nor, once removed, the next.
func TestJoinsOneAtATime(t *testing.T) {
	r := startOne(t)
	token := r.mint(t, r.admin(t), "join", "coordinator", true)
	joiner := func() (string, tandemv1connect.ClusterServiceClient) {
		joined, err := identity.Join(t.Context(), identity.JoinConfig{Coordinators: []string{r.Address()}, Token: token, Role: identity.RoleCoordinator})
		if err != nil {
			t.Fatal(err)
		}
		h := joined.Credentials.HTTPClient(identity.RoleName(identity.RoleCoordinator))
		t.Cleanup(h.CloseIdleConnections)
		return joined.Credentials.Identity.Node, tandemv1connect.NewClusterServiceClient(h, r.url())
	}
	add := func(c tandemv1connect.ClusterServiceClient, id, address string, learner bool) error {
		_, err := c.AddPeer(t.Context(), connect.NewRequest(&tandemv1.AddPeerRequest{Id: id, Address: address, Learner: learner, Level: schema.Known}))
		return err
	}
	first, firstAPI := joiner()
	second, secondAPI := joiner()
	wantCode(t, add(firstAPI, first, "127.0.0.1:1", false), connect.CodeFailedPrecondition, "as a learner first")
	for range 2 {
		if err := add(firstAPI, first, "127.0.0.1:1", true); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, add(secondAPI, second, "127.0.0.1:2", true), connect.CodeUnavailable, "is joining")
	r.mint(t, r.admin(t), "goes-on", "viewer", false)
	admin := tandemv1connect.NewClusterServiceClient(r.admin(t), r.url())
	res, err := admin.GetCluster(t.Context(), connect.NewRequest(&tandemv1.GetClusterRequest{}))
	if err != nil || len(res.Msg.GetPeers()) != 2 || !res.Msg.GetPeers()[1].GetLearner() {
		t.Errorf("peers %v, %v", res, err)
	}
	_, err = admin.RemovePeer(t.Context(), connect.NewRequest(&tandemv1.RemovePeerRequest{Id: r.creds.Identity.Node}))
	wantCode(t, err, connect.CodeFailedPrecondition, "only coordinator")
	if _, err := admin.RemovePeer(t.Context(), connect.NewRequest(&tandemv1.RemovePeerRequest{Id: first})); err != nil {
		t.Fatal(err)
	}
	if err := add(secondAPI, second, "127.0.0.1:2", true); err != nil {
		t.Error(err)
	}
}

// TestNodeWithAFullDisk: nothing is placed on a node whose agent says that its disk is full, and all who look can see it; what waits is placed as
// soon as the agent says that there is room.
func TestNodeWithAFullDisk(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	a := newAgent(t, r)
	full := a.node(2)
	full.FullFolders = []*tandemv1.FullFolder{{Path: "/var/lib/tandem", Cause: "no space left on device"}}
	ctx, over := context.WithCancel(t.Context())
	a.await(a.session(ctx, full), 0)
	jobs := tandemv1connect.NewJobServiceClient(c, r.url())
	job, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec()}))
	if err != nil {
		t.Fatal(err)
	}
	awaitState(t, r, func(v *state.View) bool {
		j, _ := v.Job(job.Msg.GetJob().GetId())
		return j.GetState() == tandemv1.JobState_JOB_STATE_PENDING && len(v.AllocationsOf(a.id)) == 0
	})
	res, err := jobs.GetJob(t.Context(), connect.NewRequest(&tandemv1.GetJobRequest{Id: job.Msg.GetJob().GetId()}))
	if err != nil {
		t.Fatal(err)
	}
	if why := say.Reason(res.Msg.GetJob().GetWhy(), say.CLI); !strings.Contains(why, "faulty") {
		t.Errorf("the job waits: %s", why)
	}
	told := func(kind tandemv1.Event_Type, text string) bool {
		return slices.ContainsFunc(r.state.View().Events(100), func(e *tandemv1.Event) bool {
			return e.GetType() == kind && e.GetName() == "w" && strings.Contains(say.Event(e, say.CLI), text)
		})
	}
	if !told(tandemv1.Event_TYPE_NODE_DISK_FULL, "/var/lib/tandem (no space left on device)") {
		t.Error("no event names the folder and what is wrong with it")
	}
	// To let it take work by hand changes nothing: its disk is as full as before.
	nodes := tandemv1connect.NewNodeServiceClient(c, r.url())
	if _, err := nodes.CordonNode(t.Context(), connect.NewRequest(&tandemv1.CordonNodeRequest{Id: a.id})); err != nil {
		t.Fatal(err)
	}
	if n, _ := r.state.View().Node(a.id); len(n.GetFullFolders()) != 1 {
		t.Errorf("%v", n)
	}
	over()
	a.await(a.session(t.Context(), a.node(2)), 2)
	if !told(tandemv1.Event_TYPE_NODE_DISK_WRITABLE, "can be written again") {
		t.Error("no event says that there is room again")
	}
}
