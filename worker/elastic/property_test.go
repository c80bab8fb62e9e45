package elastic

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRandomFaults drives several machines through random orders of steps, faults, deliveries and decisions of a model
// of the coordinator, and checks what is promised: every step is applied by all ranks of one generation, or done again
// by a later one; no step that a living member has applied is lost; a generation is joined by those it was committed
// for, once; and when the faults end, the training does too.
func TestRandomFaults(t *testing.T) {
	for range 30 { // thousands of orders; rapid does a hundred at a time
		rapid.Check(t, func(t *rapid.T) {
			s := newSimulation(t, rapid.IntRange(1, 4).Draw(t, "members"))
			for range rapid.IntRange(10, 150).Draw(t, "events") {
				s.event()
			}
			s.finish()
			s.checkLedger()
		})
	}
}

const simTotal = 12 // steps of a training

// peer is one member in the simulation.
type peer struct {
	number  int
	machine Machine
	dead    bool
	ended   bool
	queue   []Action // not carried out yet, in order
	orders  int      // how many of the coordinator's orders it has got
	step    int
	has     bool      // it has a state
	in      *simGroup // the group it joins or trains in
	joined  map[int64]bool
	aborted bool
	moving  bool
}

// simGroup is one generation.
type simGroup struct {
	gen     int64
	members []int
	arrived map[int]bool
	root    int          // member whose state counts, once all have arrived; -1: nobody has any
	rooted  bool         // root is known
	base    int          // step of that state
	reduced map[int]bool // steps whose gradients were averaged over all
	moved   map[int]bool // steps at which all agreed to move
	broken  bool         // a member left it or died: nothing more can be agreed in it
}

type applied struct {
	gen         int64
	rank, world int
}

type simulation struct {
	t      *rapid.T
	peers  []*peer
	groups map[int64]*simGroup
	ledger map[int][]applied // by step

	// The coordinator.
	gen      int64
	members  []int // of the committed generation
	ready    []int
	broken   bool
	formed   bool
	planned  bool
	answered map[int]bool
	leaving  []int
	log      []map[int]Orders // orders for each member, oldest first
}

func newSimulation(t *rapid.T, members int) *simulation {
	s := &simulation{t: t, groups: map[int64]*simGroup{}, ledger: map[int][]applied{}, answered: map[int]bool{}, log: []map[int]Orders{{}}}
	for range members {
		s.add()
	}
	return s
}

func (s *simulation) add() {
	p := &peer{number: len(s.peers), joined: map[int64]bool{}, orders: len(s.log) - 1}
	s.peers = append(s.peers, p)
	s.feed(p, Prepared{})
}

func (s *simulation) alive() (n []*peer) {
	for _, p := range s.peers {
		if !p.dead && !p.ended {
			n = append(n, p)
		}
	}
	return n
}

// feed gives an event to a machine. What concerns the present group is done at once, as the driver does.
func (s *simulation) feed(p *peer, e Event) {
	for _, act := range p.machine.Handle(e) {
		switch act.(type) {
		case Abort:
			p.aborted = true
		case Move:
			p.moving = true
		default:
			if _, join := act.(Join); join {
				p.aborted, p.moving = false, false // from here on it is about the new group
			}
			p.queue = append(p.queue, act)
		}
	}
}

// event lets one thing happen, chosen at random.
func (s *simulation) event() {
	living := s.alive()
	kinds := []string{"peer", "peer", "peer", "peer", "peer", "deliver", "deliver", "decide", "decide"}
	if len(living) > 0 {
		kinds = append(kinds, "kill")
	}
	if len(s.peers) < 12 && len(living) < 5 {
		kinds = append(kinds, "add")
	}
	if !s.broken && len(s.members) > 1 {
		kinds = append(kinds, "glitch")
	}
	switch rapid.SampledFrom(kinds).Draw(s.t, "kind") {
	case "peer":
		if len(living) > 0 {
			s.act(rapid.SampledFrom(living).Draw(s.t, "peer"))
		}
	case "deliver":
		if len(living) > 0 {
			s.deliver(rapid.SampledFrom(living).Draw(s.t, "to"))
		}
	case "decide":
		s.decide(rapid.Bool().Draw(s.t, "leave"))
	case "kill":
		s.kill(rapid.SampledFrom(living).Draw(s.t, "victim"))
	case "add":
		s.add()
	case "glitch": // a connection of the group breaks, nobody dies
		if g := s.groups[s.gen]; g != nil {
			g.broken = true
		}
	}
}

func (s *simulation) kill(p *peer) {
	p.dead = true
	if p.in != nil {
		p.in.broken = true
	}
	s.ready = slices.DeleteFunc(s.ready, func(n int) bool { return n == p.number })
	s.leaving = slices.DeleteFunc(s.leaving, func(n int) bool { return n == p.number })
	if slices.Contains(s.members, p.number) {
		s.members = slices.DeleteFunc(slices.Clone(s.members), func(n int) bool { return n == p.number })
		s.breaks()
	}
}

// breaks tells all that the committed generation does not work; who was to leave when it was formed is needed still.
func (s *simulation) breaks() {
	s.broken = true
	if !s.formed {
		s.members, s.leaving = append(slices.Clone(s.members), s.leaving...), nil
	}
	s.publish()
}

// publish makes new orders out of what is committed.
func (s *simulation) publish() {
	orders := map[int]Orders{}
	g := s.groups[s.gen]
	if g == nil {
		return
	}
	for _, n := range append(slices.Clone(s.members), s.leaving...) {
		orders[n] = Orders{Group: Group{Generation: s.gen, Formed: s.formed, Rank: slices.Index(g.members, n), World: len(g.members), Planned: s.planned}, Broken: s.broken}
	}
	s.log = append(s.log, orders)
}

// deliver gives a member the next of the orders, which may skip some.
func (s *simulation) deliver(p *peer) {
	if p.orders >= len(s.log)-1 {
		return
	}
	p.orders = rapid.IntRange(p.orders+1, len(s.log)-1).Draw(s.t, "orders")
	if o, ok := s.log[p.orders][p.number]; ok {
		s.feed(p, Ordered{o})
	}
}

// decide is the coordinator's: commit the next generation when the present one is broken and all of it have answered, or
// when members wait or are to leave.
func (s *simulation) decide(leave bool) {
	form, leaving := slices.Clone(s.members), []int(nil)
	switch {
	case s.broken:
		for _, n := range s.members {
			if !s.answered[n] {
				return
			}
		}
	case s.gen > 0 && leave && len(form) > 1 && len(s.leaving) == 0:
		leaving = []int{form[len(form)-1]}
		form = form[:len(form)-1]
	case len(s.ready) == 0:
		return
	}
	form = append(form, s.ready...)
	if len(form) == 0 {
		s.broken = s.gen > 0
		return
	}
	s.planned = s.gen > 0 && !s.broken
	s.gen++
	s.groups[s.gen] = &simGroup{gen: s.gen, members: form, arrived: map[int]bool{}, reduced: map[int]bool{}, moved: map[int]bool{}}
	s.members, s.ready, s.broken, s.formed, s.answered = form, nil, false, false, map[int]bool{}
	s.leaving = append(s.leaving, leaving...)
	s.publish()
}

// act lets a member do its next thing.
func (s *simulation) act(p *peer) {
	if len(p.queue) == 0 {
		s.proceed(p)
		return
	}
	act := p.queue[0]
	p.queue = p.queue[1:]
	switch act := act.(type) {
	case ReportReady:
		s.ready = append(s.ready, p.number)
	case ReportBroken:
		if act.Generation == s.gen && slices.Contains(s.members, p.number) {
			s.answered[p.number] = true
			if !s.broken {
				s.breaks()
			}
		}
	case Join:
		g := s.groups[act.Group.Generation]
		if g == nil || !slices.Contains(g.members, p.number) || p.joined[g.gen] {
			s.t.Fatalf("member %d joins generation %d, which is not its to join", p.number, act.Group.Generation)
		}
		p.joined[g.gen] = true
		p.in = g
		g.arrived[p.number] = true
	case End:
		p.ended = true
		s.members = slices.DeleteFunc(slices.Clone(s.members), func(n int) bool { return n == p.number })
		s.leaving = slices.DeleteFunc(s.leaving, func(n int) bool { return n == p.number })
	}
}

// proceed lets a member go on in its group.
func (s *simulation) proceed(p *peer) {
	g := p.in
	if g == nil {
		return
	}
	leave := func(e Event) {
		g.broken = true // its connections close
		p.in = nil
		s.feed(p, e)
	}
	phase := p.machine.Phase()
	switch {
	case p.aborted, g.broken && phase == Joining && !g.rooted:
		p.aborted = false
		leave(Broke{Step: int64(p.step), Message: "aborted"})
	case phase == Joining:
		s.join(p, g, leave)
	case phase == Training:
		s.train(p, g, leave)
	}
}

func (s *simulation) join(p *peer, g *simGroup, leave func(Event)) {
	if !g.rooted {
		if len(g.arrived) < len(g.members) {
			return
		}
		g.rooted, g.root = true, -1
		for _, n := range g.members {
			if q := s.peers[n]; q.has && (g.root < 0 || q.step > s.peers[g.root].step) {
				g.root = n
			}
		}
		if g.root >= 0 {
			g.base = s.peers[g.root].step
		}
		for _, q := range s.alive() { // in the group or about to leave
			if q.has && q.step > g.base && g.gen == s.gen {
				s.t.Fatalf("generation %d begins at step %d, member %d has done %d", g.gen, g.base, q.number, q.step)
			}
		}
	}
	if g.broken { // in the middle of the transfer: who is behind has two halves of a state
		if p.number != g.root && (!p.has || p.step != g.base) {
			p.has, p.step = false, 0
		}
		leave(Broke{Step: int64(p.step), Message: "reset"})
		return
	}
	p.has, p.step = true, g.base
	s.feed(p, Joined{int64(p.step)})
}

func (s *simulation) train(p *peer, g *simGroup, leave func(Event)) {
	next := p.step + 1
	same := func() bool { // all ranks are here, at the same step
		for _, n := range g.members {
			q := s.peers[n]
			if q.in != g || q.machine.Phase() != Training || q.step != p.step {
				return false
			}
		}
		return !g.broken
	}
	switch {
	case g.moved[p.step]:
		p.in = nil
		s.feed(p, Moved{int64(p.step)})
	case g.reduced[next]: // the average is there, whatever has become of the others
		p.step = next
		s.ledger[next] = append(s.ledger[next], applied{g.gen, slices.Index(g.members, p.number), len(g.members)})
	case p.step == simTotal:
		s.settle(p, g, leave)
	case g.broken:
		leave(Broke{Step: int64(p.step), Message: "reset"})
	case same():
		if g.gen == s.gen && !s.formed && !s.broken {
			s.formed = true
			s.publish()
		}
		for _, n := range g.members {
			if s.peers[n].moving {
				g.moved[p.step] = true
				return
			}
		}
		g.reduced[next] = true
	}
}

// settle ends the training where all ranks have done all steps: the barrier of the last checkpoint.
func (s *simulation) settle(p *peer, g *simGroup, leave func(Event)) {
	const barrier = simTotal + 1
	if !g.reduced[barrier] {
		for _, n := range g.members {
			q := s.peers[n]
			if g.broken || q.in != g || q.step != simTotal {
				if g.broken {
					leave(Broke{Step: int64(p.step), Message: "reset"})
				}
				return
			}
		}
		g.reduced[barrier] = true
	}
	p.in = nil
	s.feed(p, Done{int64(p.step), false})
}

// finish lets things run without faults until the training ends.
func (s *simulation) finish() {
	for range 2000 {
		living := s.alive()
		if len(living) == 0 { // lost or left, all of them: the coordinator places the trial anew
			s.add()
		}
		for _, p := range living {
			if p.orders < len(s.log)-1 {
				p.orders = len(s.log) - 1
				if o, ok := s.log[p.orders][p.number]; ok {
					s.feed(p, Ordered{o})
				}
			}
			s.act(p)
		}
		if s.done() {
			return
		}
		s.decide(false)
	}
	var where []string
	for _, p := range s.alive() {
		where = append(where, fmt.Sprintf("member %d: phase %d, step %d, queue %v", p.number, p.machine.Phase(), p.step, p.queue))
	}
	s.t.Fatalf("the training does not end: generation %d of %v, broken %v, answered %v, %v", s.gen, s.members, s.broken, s.answered, where)
}

// done tells whether some member has finished all steps; who waits then is let go by the coordinator.
func (s *simulation) done() bool {
	return slices.ContainsFunc(s.peers, func(p *peer) bool { return p.ended && p.step == simTotal })
}

// checkLedger: in the newest generation that applied a step, every rank counted in it once, and all steps are there.
func (s *simulation) checkLedger() {
	for step := 1; step <= simTotal; step++ {
		entries := s.ledger[step]
		if len(entries) == 0 {
			s.t.Fatalf("step %d was never applied", step)
		}
		newest := slices.MaxFunc(entries, func(a, b applied) int { return int(a.gen - b.gen) })
		seen := map[int]bool{}
		for _, e := range entries {
			if e.gen != newest.gen {
				continue
			}
			if e.world != newest.world || seen[e.rank] || e.rank < 0 || e.rank >= e.world {
				s.t.Fatalf("step %d of generation %d: rank %d of %d, after %v", step, e.gen, e.rank, e.world, entries)
			}
			seen[e.rank] = true
		}
	}
}
