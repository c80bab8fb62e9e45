package consensus_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tandem.dev/coordinator/consensus"
	"tandem.dev/coordinator/coordtest"
	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// oftenSnapshots makes followers that lag get snapshots instead of entries.
func oftenSnapshots(c *consensus.Config) {
	c.SnapshotThreshold, c.TrailingLogs, c.SnapshotInterval = 40, 20, 5*time.Second
}

func createDataset(t *testing.T, c *coordtest.Cluster) {
	t.Helper()
	propose(t, c, 0, &tandemv1.Command{Command: &tandemv1.Command_CreateDataset{CreateDataset: &tandemv1.CreateDataset{
		Dataset: &tandemv1.Dataset{Id: "data-1", Name: "digits", Prefix: "datasets/data-1"},
	}}})
}

func propose(t *testing.T, c *coordtest.Cluster, i int, cmd *tandemv1.Command) *tandemv1.Result {
	t.Helper()
	r, err := c.Node(i).Propose(context.Background(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func createJob(request, id string) *tandemv1.Command {
	return &tandemv1.Command{RequestId: request, Actor: "client", Command: &tandemv1.Command_CreateJob{CreateJob: &tandemv1.CreateJob{
		Job: &tandemv1.Job{Id: "job-" + id, Name: request, Kind: tandemv1.JobKind_JOB_KIND_TRAIN, Spec: &tandemv1.JobSpec{
			DatasetId: "data-1", Resources: &tandemv1.ResourceSpec{Workers: 1},
		}},
		Trial: &tandemv1.Trial{Id: "trial-" + id},
	}}}
}

// disturb injects faults until rounds are over, then heals everything. It says what it did.
func disturb(c *coordtest.Cluster, rng *rand.Rand, rounds int) map[string]int {
	did := map[string]int{}
	for range rounds {
		leader, other := c.Leader(), rng.IntN(c.Len())
		switch kind := rng.IntN(5); kind {
		case 0:
			did["leader killed"]++
			c.Kill(leader)
		case 1:
			did["leader isolated"]++
			c.Isolate(leader)
		case 2:
			did["one link cut"]++
			c.CutLink(leader, (leader+1+rng.IntN(c.Len()-1))%c.Len())
		case 3:
			did["leader deaf"]++
			for i := range c.Len() {
				c.CutLink(i, leader)
			}
		case 4:
			did["peer killed"]++
			c.Kill(other)
		}
		time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
		c.Heal()
		for i := range c.Len() {
			if !c.Up(i) {
				c.Start(i)
			}
		}
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
	}
	return did
}

// A client that tries again makes a new job each time, under the same request id.
func TestNoAcknowledgedJobIsLostOrDoubled(t *testing.T) {
	for _, peers := range []int{3, 5} {
		t.Run(fmt.Sprint(peers, " peers"), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { jobsUnderFaults(t, peers, 120/peers) }) })
	}
}

func jobsUnderFaults(t *testing.T, peers, rounds int) {
	c := coordtest.New(t, peers, coordtest.WithConfig(oftenSnapshots))
	defer c.Stop()
	createDataset(t, c)
	var acknowledged sync.Map
	var made, tries atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for client := range 4 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(client)))
			for n := 0; ctx.Err() == nil; n++ {
				request := fmt.Sprintf("request-%d-%d", client, n)
				for {
					tries.Add(1)
					attempt, done := context.WithTimeout(context.Background(), time.Second)
					r, err := c.Node(rng.IntN(peers)).Propose(attempt, createJob(request, fmt.Sprintf("%08d", made.Add(1))))
					done()
					if err == nil {
						acknowledged.Store(request, r.GetId())
						break
					}
				}
				time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
			}
		})
	}
	did := disturb(c, rand.New(rand.NewPCG(42, uint64(peers))), rounds)
	cancel()
	clients.Wait()
	c.WaitApplied()

	jobs := map[string][]string{}
	for _, j := range c.State(0).View().Jobs() {
		jobs[j.GetName()] = append(jobs[j.GetName()], j.GetId())
	}
	checked := 0
	acknowledged.Range(func(request, id any) bool {
		checked++
		if got := jobs[request.(string)]; len(got) != 1 || got[0] != id {
			t.Errorf("%s was acknowledged as %s, the state has %v", request, id, got)
		}
		return true
	})
	if len(jobs) != checked {
		t.Errorf("%d jobs in the state, %d acknowledged", len(jobs), checked)
	}
	if checked < 100 {
		t.Errorf("only %d jobs were acknowledged: too few to show anything", checked)
	}
	first := dump(t, c.State(0))
	for i := 1; i < peers; i++ {
		if !bytes.Equal(first, dump(t, c.State(i))) {
			t.Errorf("the states of peers 0 and %d differ", i)
		}
	}
	t.Logf("seed 42, %d jobs acknowledged in %d tries, faults %v", checked, tries.Load(), did)
}

func dump(t *testing.T, s *state.State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := format.Write(&b, s.View()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// receive waits a minute of the bubble's time at most.
func receive(t *testing.T, from <-chan int) int {
	t.Helper()
	select {
	case i := <-from:
		return i
	case <-time.After(time.Minute):
		t.Fatal("nothing within a minute")
		return -1
	}
}

func TestLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 3)
		defer c.Stop()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var loops sync.WaitGroup
		leads := make(chan int, 10)
		lost := make(chan int, 10)
		for i := range 3 {
			loops.Go(func() {
				err := c.Node(i).Lead(ctx, func(ctx context.Context) error {
					leads <- i
					<-ctx.Done()
					lost <- i
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		first := receive(t, leads)
		if first != c.Leader() {
			t.Errorf("peer %d runs the duties of peer %d", first, c.Leader())
		}
		c.Isolate(first)
		if got := receive(t, lost); got != first {
			t.Errorf("peer %d lost its duties, not %d", got, first)
		}
		if second := receive(t, leads); second == first {
			t.Error("an isolated peer leads again")
		}
		c.Heal()
		cancel()
		loops.Wait()
	})
}

func TestMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 3)
		defer c.Stop()
		leader, follower := c.Leader(), c.Follower()
		if err := c.Node(follower).AddPeer(t.Context(), "x", "x"); err == nil {
			t.Error("a follower has added a peer")
		}
		if err := c.Node(leader).RemovePeer(t.Context(), c.ID(follower)); err != nil {
			t.Fatal(err)
		}
		if n := len(c.Node(leader).Peers()); n != 2 {
			t.Errorf("%d peers after one of 3 was removed", n)
		}
		// Two voters are left: the one that was removed counts for no majority.
		for i := range c.Len() {
			if i != leader && i != follower {
				c.Kill(i)
			}
		}
		time.Sleep(time.Second) // answers that were under way still count
		if _, err := c.Node(leader).ReadIndexLocal(t.Context()); err == nil {
			t.Error("one of two voters and a removed peer were a majority")
		}
	})
}

// TestLearner: a coordinator that joins costs no majority until it has the log, and then can elect those it never met.
func TestLearner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 3, coordtest.WithSpare(1))
		defer c.Stop()
		createDataset(t, c)
		leader, follower := c.Leader(), c.Follower()
		add := func(as func(context.Context, string, string) error) {
			t.Helper()
			if err := as(t.Context(), "coordinator-2", "peer-2"); err != nil {
				t.Fatal(err)
			}
		}
		c.Isolate(2)
		add(c.Node(leader).AddLearner)
		propose(t, c, leader, createJob("while the learner is away", "1"))
		c.Heal()
		for len(c.Node(2).Peers()) < 3 {
			time.Sleep(10 * time.Millisecond) // virtual
		}
		c.Kill(follower) // one of two voters
		time.Sleep(5 * time.Second)
		if c.Node(leader).IsLeader() {
			t.Error("a learner counts for the majority")
		}
		c.Start(follower)
		leader = c.Leader()
		add(c.Node(leader).AddPeer)
		// Until the other voter has the new configuration it refuses its vote to the former learner: see AddPeer.
		for other := 1 - leader; !votes(c.Node(other), "coordinator-2"); {
			time.Sleep(10 * time.Millisecond) // virtual
		}
		c.Kill(leader)
		next := c.Leader()
		for _, p := range c.Node(next).Peers() {
			if !p.Voter {
				t.Errorf("%s has no vote", p.ID)
			}
		}
	})
}

// votes tells whether a node knows a coordinator as a voter.
func votes(n *consensus.Node, id string) bool {
	return slices.ContainsFunc(n.Peers(), func(p consensus.Peer) bool { return p.ID == id && p.Voter })
}

func TestNoLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 3)
		defer c.Stop()
		leader := c.Leader()
		c.Isolate(leader)
		time.Sleep(time.Second) // answers that were under way still count as followers
		begin := time.Now()
		if _, err := c.Node(leader).View(t.Context()); !isNoLeader(err) {
			t.Errorf("an isolated leader answered a read with error %v", err)
		}
		_, err := c.Node(leader).Propose(t.Context(), &tandemv1.Command{Command: &tandemv1.Command_CordonNode{CordonNode: &tandemv1.CordonNode{NodeId: "x"}}})
		if err == nil {
			t.Error("an isolated leader has accepted a command")
		}
		if took := time.Since(begin); took > 40*time.Second {
			t.Errorf("both took %s", took)
		}
		c.Heal()
	})
}
