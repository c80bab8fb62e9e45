package scheduler

// Queue is a project in a pool that is shared fairly. A pool with no queue at all is not: there age alone decides.
type Queue struct {
	Project string
	Pool    string
	// Weight is its part beside that of others: 2 is twice as much as 1; 0 stands for 1.
	Weight float64
	// Recent is how many slots it held on average lately, what was longer ago counting less. What it holds now is in Running.
	Recent float64
}

// queueOf names a queue.
type queueOf struct{ project, pool string }

// shares are the queues while a plan is made, of those pools that are shared fairly.
type shares struct {
	fair map[string]bool // pools
	all  map[queueOf]*share
}

// share is what a project has of a pool.
type share struct {
	Queue
	held    int // slots of work that counts, those it is about to set free too; not those on loan, which it may lose at any time
	granted int // slots in this plan
	ahead   int // slots that its requests want that wait and had their turn
}

func newShares(queues []Queue) shares {
	s := shares{fair: map[string]bool{}, all: map[queueOf]*share{}}
	for _, q := range queues {
		s.fair[q.Pool] = true
		s.all[queueOf{q.Project, q.Pool}] = &share{Queue: q}
	}
	return s
}

// of is what a project has of a pool; nil where that is not shared fairly.
func (s shares) of(q queueOf) *share {
	if !s.fair[q.pool] {
		return nil
	}
	if s.all[q] == nil {
		s.all[q] = &share{Queue: Queue{Project: q.project, Pool: q.pool}}
	}
	return s.all[q]
}

// hold counts what a claim holds.
func (s shares) hold(c Claim) {
	if of := s.of(queueOf{c.Project, c.Pool}); of != nil && !c.OnLoan {
		of.held += c.Slots + c.Leaving
	}
}

// size is what the project had and has, and what its requests before this one want, over its weight: who has the least is next.
func (s *share) size() float64 {
	if s == nil {
		return 0
	}
	return s.over(s.held + s.granted + s.ahead)
}

// over is the size of the share if the project held so many slots.
func (s *share) over(slots int) float64 {
	weight := s.Weight
	if weight <= 0 {
		weight = 1
	}
	return (s.Recent + float64(slots)) / weight
}

// count counts what a request got, or wants while it waits. What is spare waits for nothing.
func (e *entry) count(got int) {
	switch {
	case e.share == nil:
	case got > 0:
		e.share.granted += got
	case !e.Spare && (e.code == Busy || e.code == Behind):
		e.share.ahead += e.Slots
	}
}

// sizes are the shares of projects with all that counts beside the first in line of a pool, what they have on loan too; nil where it is
// not shared fairly.
func (s shares) sizes(claims []Claim, first *entry) map[string]float64 {
	if first.share == nil {
		return nil
	}
	held := map[string]int{}
	for _, c := range claims {
		if c.Priority >= first.Priority {
			held[c.Project] += c.Slots + c.Leaving
		}
	}
	all := map[string]float64{}
	for project, slots := range held {
		of := s.of(queueOf{project, first.Pool})
		all[project] = of.over(slots + of.granted)
	}
	return all
}
