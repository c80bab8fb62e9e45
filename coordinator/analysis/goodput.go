package analysis

import (
	"cmp"
	"slices"
	"time"

	"tandem.dev/storage/metric"
)

// Life is what is known of a trial besides its segments.
type Life struct {
	Created time.Time
	Ended   time.Time // zero: it goes on
	Running bool      // it holds slots
	Now     time.Time
}

// Goodput is where the life of a trial went. The parts add up to Total.
type Goodput struct {
	Total    time.Duration
	Useful   time.Duration // steps done for the first time, and evaluation
	Redone   time.Duration // steps done again, and work that came to nothing: of steps that were not committed, or that nobody has any more
	Stalled  time.Duration // waiting for data, the copy of a checkpoint, or the store
	Waiting  time.Duration // for other ranks: to form a group, or for one that does not answer
	Starting time.Duration
	Idle     time.Duration // nothing ran
	Until    time.Time     // what Total counts to
}

// Stretch of time, in nanoseconds since 1970.
type Stretch struct{ From, To int64 }

// ComputeGoodput makes the ledger of a trial. An instant of which several members tell is told by the lowest rank of the newest
// generation. One of which none tells is, in this order:
//   - useful, when the member that told of the time before also tells of the time after: only the records were lost;
//   - after the last record of a member that did not say that it ends, for as long as its next record was due: it was killed.
//     When it trained, useful as long as the steps took that the trial goes on after, though no record has them: they were
//     kept. The rest is redone. When it did not train, it went on with what it did: to start, to wait;
//   - idle.
func ComputeGoodput(segments []metric.Segment, life Life) Goodput {
	from := life.Created.UnixNano()
	to := end(segments, life)
	g := Goodput{Until: time.Unix(0, to), Total: time.Duration(to - from)}
	at, reached := from, 0.0
	perStep := 0.0 // nanoseconds that a step took at last
	lives := livesOf(segments)
	pieces := append(tile(segments, from, to), piece{from: to, to: to})
	for i, p := range pieces {
		useful, lost, doing := unrecorded(Stretch{at, p.from}, lives)
		g.Useful += useful
		g.Idle += time.Duration(p.from-at) - useful - lost
		if lost > 0 && doing == metric.Lost {
			next := goesOn(pieces[i:])
			kept := min(lost, time.Duration(max(0, next-reached)*perStep))
			g.Useful += kept
			lost -= kept
			reached = max(reached, next)
		}
		g.spend(doing, lost)
		at = p.to
		g.take(p, reached)
		reached = max(reached, p.step)
		if p.step > p.first {
			perStep = float64(p.to-p.from) / (p.step - p.first)
		}
	}
	return g
}

// goesOn is the step after which the next steps of a trial are done; 0: none are.
func goesOn(pieces []piece) float64 {
	for _, p := range pieces {
		if p.step > p.first {
			return p.first
		}
	}
	return 0
}

// Gaps are the stretches in which a member ran of which no segment tells; those of other ranks may.
func Gaps(segments []metric.Segment, life Life) []Stretch {
	from, to := life.Created.UnixNano(), end(segments, life)
	var gaps []Stretch
	at := from
	lives := livesOf(segments)
	for _, p := range append(tile(segments, from, to), piece{from: to, to: to}) {
		if useful, lost, _ := unrecorded(Stretch{at, p.from}, lives); useful+lost > 0 {
			gaps = append(gaps, Stretch{at, p.from})
		}
		at = p.to
	}
	return gaps
}

// take adds one piece of life; reached is the step that the trial was at before.
func (g *Goodput) take(p piece, reached float64) {
	whole := p.times.Total()
	if whole == 0 {
		return
	}
	left := time.Duration(p.to - p.from)
	share := float64(left) / float64(whole)
	var times metric.Times
	for c, d := range p.times {
		times[c] = min(time.Duration(float64(d)*share), left)
		left -= times[c]
	}
	var l metric.Ledger
	l.Spend(times, p.first, p.step, reached)
	g.add(l)
	g.Useful += left // what rounding left over, a few nanoseconds
}

// spend gives time of a category to its part.
func (g *Goodput) spend(of metric.Category, d time.Duration) {
	var l metric.Ledger
	l[of.Part()] = d
	g.add(l)
}

func (g *Goodput) add(l metric.Ledger) {
	g.Useful += l[metric.Useful]
	g.Redone += l[metric.Redone]
	g.Stalled += l[metric.Stalled]
	g.Waiting += l[metric.Awaiting]
	g.Starting += l[metric.Preparing]
}

// piece is a beat, or the part of one that no better told one covers.
type piece struct {
	from, to    int64
	times       metric.Times // of the whole beat
	first, step float64      // steps done at from and at to
}

// tile chooses who tells of which instant. The pieces are in order and do not overlap.
func tile(segments []metric.Segment, from, to int64) []piece {
	type teller struct {
		rank       int
		generation int64
		member     string
	}
	beats := map[teller][]metric.Beat{}
	for _, s := range segments {
		k := teller{s.Rank, s.Generation, s.Member}
		beats[k] = append(beats[k], s.Beats...)
	}
	var tellers []teller
	for k := range beats {
		tellers = append(tellers, k)
	}
	slices.SortFunc(tellers, func(a, b teller) int {
		return cmp.Or(-cmp.Compare(min(a.rank, 0), min(b.rank, 0)), // who is in no group comes last
			-cmp.Compare(a.generation, b.generation), cmp.Compare(a.rank, b.rank), cmp.Compare(a.member, b.member))
	})
	var pieces []piece
	for _, k := range tellers {
		own := beats[k]
		slices.SortFunc(own, func(a, b metric.Beat) int { return cmp.Compare(a.From, b.From) })
		pieces = lay(pieces, own, from, to)
	}
	return pieces
}

// lay puts beats where no piece is yet.
func lay(pieces []piece, beats []metric.Beat, from, to int64) []piece {
	var out []piece
	at := from
	for i, p := range append(pieces, piece{from: to, to: to}) {
		for len(beats) > 0 && beats[0].From < p.from {
			b := beats[0]
			if lo, hi := max(b.From, at), min(b.To(), p.from); hi > lo {
				out = append(out, cut(b, lo, hi))
				at = hi
			}
			if b.To() > p.from {
				break // the rest may fit in behind p
			}
			beats = beats[1:]
		}
		if i < len(pieces) {
			out = append(out, p)
		}
		at = max(at, p.to)
	}
	return out
}

// cut is the part of a beat between two instants; its steps are taken to be evenly spread.
func cut(b metric.Beat, lo, hi int64) piece {
	step := func(at int64) float64 {
		return float64(b.First) + float64(b.Step-b.First)*float64(at-b.From)/float64(b.To()-b.From)
	}
	return piece{from: lo, to: hi, times: b.Times, first: step(lo), step: step(hi)}
}

// memberLife is that of one engine process.
type memberLife struct {
	from, told int64 // its first and its last record
	due        time.Duration
	doing      metric.Category // that its time after its last record goes to, had it gone on: Lost for work
	last       bool            // it said that it ends
}

// doing is what a member was at in its last record.
func doing(b metric.Beat) metric.Category {
	longest := metric.Category(0)
	for c, d := range b.Times {
		if d > b.Times[longest] {
			longest = metric.Category(c)
		}
	}
	if b.Step > b.First || longest == metric.Evaluate || longest.OfStep() {
		return metric.Lost
	}
	return longest
}

func livesOf(segments []metric.Segment) map[string]memberLife {
	lives := map[string]memberLife{}
	for _, s := range segments {
		if len(s.Beats) == 0 {
			if s.Last { // of a member that had nothing more to tell
				l := lives[s.Member]
				l.last = true
				lives[s.Member] = l
			}
			continue
		}
		l, known := lives[s.Member]
		from, told := s.Beats[0].From, s.Beats[len(s.Beats)-1].To()
		if !known || l.from == 0 || from < l.from {
			l.from = from
		}
		if told >= l.told {
			l.told, l.due, l.doing = told, s.Due, doing(s.Beats[len(s.Beats)-1])
		}
		l.last = l.last || s.Last
		lives[s.Member] = l
	}
	return lives
}

// unrecorded says how much of a stretch, of which no beat tells, lies within the life of a member that went on to tell, and
// how much else after the last word of one that was killed, and what that one was at.
func unrecorded(s Stretch, lives map[string]memberLife) (useful, lost time.Duration, doing metric.Category) {
	if s.To <= s.From {
		return 0, 0, 0
	}
	within, killed := s.From, s.From
	for _, l := range lives {
		if l.from <= s.From && l.told > s.From {
			within = max(within, min(l.told, s.To))
		}
		if until := l.told + int64(l.due); !l.last && l.told <= s.From && until > s.From {
			killed = max(killed, min(until, s.To))
			doing = max(doing, l.doing) // who worked counts: Lost is the last category
		}
	}
	useful = time.Duration(within - s.From)
	return useful, max(0, time.Duration(killed-s.From)-useful), doing
}

// end is what the ledger counts to: the end of the trial, or of what is told of one that runs.
func end(segments []metric.Segment, life Life) int64 {
	to := life.Now.UnixNano()
	if !life.Ended.IsZero() {
		to = life.Ended.UnixNano()
	} else if life.Running {
		told := int64(0)
		for _, l := range livesOf(segments) {
			if !l.last {
				told = max(told, l.told)
			}
		}
		if told > 0 {
			to = min(to, told) // what came after is on its way
		}
	}
	return max(to, life.Created.UnixNano())
}
