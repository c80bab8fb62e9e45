package consensus_test

import (
	"bytes"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/coordinator/coordtest"
)

// lines are what coordinators log.
type lines struct {
	mu sync.Mutex
	by map[string][]line
}

type line struct {
	Coordinator, Raw string
	LeftOut          int `json:"left_out"`
}

func (l *lines) Write(p []byte) (int, error) {
	var at line
	if err := json.Unmarshal(p, &at); err != nil {
		return 0, err
	}
	at.Raw = string(bytes.TrimSpace(p))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[at.Coordinator] = append(l.by[at.Coordinator], at)
	return len(p), nil
}

// take returns what was logged since the last call.
func (l *lines) take() map[string][]line {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.by
	l.by = map[string][]line{}
	return was
}

// TestOneDeadPeer: a peer that is down is a line a minute in the log of the leader, with the count of what is left out, and none in that
// of the others; when a majority is down the one that is left writes a line a minute about each of them and its elections.
func TestOneDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lines{by: map[string][]line{}}
		c := coordtest.New(t, 3, coordtest.WithLog(zerolog.New(log).Level(zerolog.WarnLevel)))
		defer c.Stop()
		log.take()
		dead, leader := c.Follower(), c.Leader()
		c.Kill(dead)
		time.Sleep(10 * time.Minute)
		said := log.take()
		for peer, all := range said {
			most := 0
			if peer == c.ID(leader) {
				most = 11
			}
			if len(all) > most {
				t.Errorf("%s wrote %d lines in 10 minutes, want at most %d: %v", peer, len(all), most, all)
			}
		}
		of := said[c.ID(leader)]
		if len(of) < 5 {
			t.Fatalf("the leader wrote %v about a dead peer", of)
		}
		if of[2].LeftOut < 10 {
			t.Errorf("the third line does not say how much was left out: %s", of[2].Raw)
		}
		last := 3 - dead - leader // the numbers of all three add up to 3
		c.Kill(leader)
		log.take()
		time.Sleep(10 * time.Minute)
		if all := log.take()[c.ID(last)]; len(all) < 10 || len(all) > 5*11 {
			t.Errorf("the last one wrote %d lines in 10 minutes: %v", len(all), all)
		}
	})
}
