package scheduler

import (
	"cmp"
	"container/heap"
	"slices"
)

// order sorts the requests into levels: those of one priority, what is spare last. Within a level they take turns (turns.next).
func (p *pass) order(s Snapshot) {
	entries := make([]*entry, 0, len(s.Pending))
	for _, r := range s.Pending {
		entries = append(entries, &entry{Request: r, pool: p.pools[r.Pool]})
	}
	slices.SortFunc(entries, func(a, b *entry) int { return inOrder(a.Request, b.Request) })
	p.turns = turns{shares: newShares(s.Queues), left: entries, claims: slices.Clone(s.Running)}
	slices.SortFunc(p.turns.claims, func(a, b Claim) int { return cmp.Compare(b.Priority, a.Priority) })
}

// inOrder compares the places of two requests where nothing is shared fairly: priority, what is spare last, then age, then id.
func inOrder(a, b Request) int {
	return cmp.Or(inLevels(a, b), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

func inLevels(a, b Request) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(oneIf(a.Spare), oneIf(b.Spare)))
}

func oneIf(is bool) int {
	if is {
		return 1
	}
	return 0
}

// turns says whose turn it is.
type turns struct {
	shares shares
	left   []*entry // of the levels to come, in order
	claims []Claim  // of priorities to come
	lines  lines    // of this level
	last   *line    // had its turn, and what it got is not counted yet
}

// line is the requests of a level that come one after the other, oldest first: those of a project in a pool that is shared fairly, else
// those of a pool.
type line struct {
	share   *share // nil: its pool is not shared fairly
	entries []*entry
}

// next is the request whose turn it is, nil: all had theirs. Of the lines of a level it is the one with the least share, then the one
// that has the oldest request. What the last one got has to be counted before.
func (t *turns) next() *entry {
	if t.last != nil && len(t.last.entries) > 0 {
		heap.Push(&t.lines, t.last)
	}
	if len(t.lines) == 0 {
		t.open()
	}
	if t.last = nil; len(t.lines) == 0 {
		return nil
	}
	t.last, _ = heap.Pop(&t.lines).(*line)
	e := t.last.entries[0]
	t.last.entries = t.last.entries[1:]
	e.share, e.had = t.last.share, t.last.share.size()
	return e
}

// open opens the next level. Work of lower priorities does not count there yet, for it gives way.
func (t *turns) open() {
	if len(t.left) == 0 {
		return
	}
	first := t.left[0].Request
	n := 0
	for n < len(t.claims) && t.claims[n].Priority >= first.Priority {
		t.shares.hold(t.claims[n])
		n++
	}
	t.claims = t.claims[n:]
	byQueue := map[queueOf]*line{}
	for len(t.left) > 0 && inLevels(first, t.left[0].Request) == 0 {
		e := t.left[0]
		t.left = t.left[1:]
		of := queueOf{e.Project, e.Pool}
		share := t.shares.of(of)
		if share == nil {
			of.project = ""
		}
		if byQueue[of] == nil {
			byQueue[of] = &line{share: share}
			t.lines = append(t.lines, byQueue[of])
		}
		byQueue[of].entries = append(byQueue[of].entries, e)
	}
	heap.Init(&t.lines)
}

// lines is a heap of lines that have requests.
type lines []*line

func (l lines) Len() int      { return len(l) }
func (l lines) Swap(i, j int) { l[i], l[j] = l[j], l[i] }
func (l lines) Less(i, j int) bool {
	return cmp.Or(
		cmp.Compare(l[i].share.size(), l[j].share.size()),
		inOrder(l[i].entries[0].Request, l[j].entries[0].Request),
	) < 0
}

// Push implements heap.Interface.
func (l *lines) Push(x any) { *l = append(*l, x.(*line)) } //nolint:forcetypeassert // next alone pushes

// Pop implements heap.Interface.
func (l *lines) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}
