package consensus_test

import (
	"testing"
	"testing/synctest"
	"time"

	"tandem.dev/coordinator/coordtest"
)

// TestContact: from the first moment on a leader knows of a peer what it has learned itself, and nothing of one that was dead before.
func TestContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 5)
		defer c.Stop()
		dead, first := c.Follower(), c.Leader()
		c.Kill(dead)
		time.Sleep(10 * time.Second)
		if at := c.Node(first).Contact(c.ID(dead)); !at.Answered || at.Silent.IsZero() || at.Answers() {
			t.Errorf("the leader of a peer that died: %+v", at)
		}
		c.Isolate(first)
		leads := func() int {
			for i := range c.Len() {
				if i != first && c.Up(i) && c.Node(i).IsLeader() {
					return i
				}
			}
			return -1
		}
		for leads() < 0 {
			time.Sleep(time.Millisecond)
		}
		next := leads()
		for range 5000 { // of virtual milliseconds
			if at := c.Node(next).Contact(c.ID(dead)); at.Answered {
				t.Fatalf("the next leader of a peer that was dead before: %+v", at)
			}
			time.Sleep(time.Millisecond)
		}
		for i := range c.Len() {
			at := c.Node(next).Contact(c.ID(i))
			if lives := i != next && i != first && i != dead; at.Answers() != lives {
				t.Errorf("the next leader of %s, which lives: %v: %+v", c.ID(i), lives, at)
			}
			if i != next && c.Up(i) && c.Node(i).Contact(c.ID(next)).Answers() {
				t.Errorf("%s, which does not lead, says that the leader answers it", c.ID(i))
			}
		}
		c.Start(dead)
		time.Sleep(10 * time.Second)
		if at := c.Node(next).Contact(c.ID(dead)); !at.Answers() {
			t.Errorf("of one that is back: %+v", at)
		}
	})
}

// TestContactOfATerm: what a peer answered while this node led before says nothing of now.
func TestContactOfATerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coordtest.New(t, 3)
		defer c.Stop()
		dead, leader := c.Follower(), c.Leader()
		c.Kill(dead)
		for led := c.Node(leader).Term(); c.Node(leader).Term() == led || !c.Node(leader).IsLeader(); time.Sleep(10 * time.Second) {
			c.Isolate(leader) // it steps down
			time.Sleep(10 * time.Second)
			c.Heal() // and one of the two is elected
		}
		if at := c.Node(leader).Contact(c.ID(dead)); at.Answered {
			t.Errorf("of a peer that died while this node led before: %+v", at)
		}
	})
}
