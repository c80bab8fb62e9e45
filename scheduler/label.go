package scheduler

import (
	"maps"
	"slices"
	"strings"
)

// suits says whether a request may have slots of a node: that has all its labels.
func (n *node) suits(r Request) bool {
	for key, value := range r.Labels {
		if n.Labels[key] != value {
			return false
		}
	}
	return true
}

// labelText writes the labels of a request, by key.
func (r Request) labelText() string {
	var all []string
	for _, key := range sortedKeys(r.Labels) {
		all = append(all, key+"="+r.Labels[key])
	}
	return strings.Join(all, ", ")
}

// suited are the nodes of a pool that suit a request.
func (p *pool) suited(r Request) []*node {
	if len(r.Labels) == 0 {
		return p.nodes
	}
	key := r.labelText()
	nodes, known := p.bySuit[key]
	if !known {
		nodes = slices.DeleteFunc(slices.Clone(p.nodes), func(n *node) bool { return n.Unavailable != "" || !n.suits(r) })
		p.bySuit[key] = nodes
	}
	return nodes
}

// availableTo is how many slots of nodes that suit a request it could wait for, and freeFor how many of them nobody holds.
func (p *pool) availableTo(r Request) int {
	if len(r.Labels) == 0 {
		return p.available
	}
	return sum(p.suited(r), (*node).available)
}

func (p *pool) freeFor(r Request) int {
	if len(r.Labels) == 0 {
		return p.free
	}
	return sum(p.suited(r), (*node).free)
}

// open are the nodes that suit a request and for which no request waits before it that needs their labels.
func (p *pool) open(r Request) []*node {
	if len(p.held) == 0 {
		return p.suited(r)
	}
	return slices.DeleteFunc(slices.Clone(p.suited(r)), func(n *node) bool {
		return slices.ContainsFunc(p.held, func(h *entry) bool { return n.suits(h.Request) })
	})
}

// holder is the request that waits for nodes which this one needs too; nil: there is none, or it would have too few without that as well.
func (p *pool) holder(r Request) *entry {
	for _, h := range p.held {
		if maps.Equal(h.Labels, r.Labels) {
			return h
		}
	}
	if len(p.held) > 0 && p.freeFor(r) >= r.least() {
		return p.held[0]
	}
	return nil
}

// helps says whether the slots of a claim are of use to a request: they are all on nodes that suit it.
func (p *pool) helps(c Claim, r Request) bool {
	return len(r.Labels) == 0 || len(c.At) > 0 && !slices.ContainsFunc(c.At, func(at Placement) bool {
		return !slices.ContainsFunc(p.suited(r), func(n *node) bool { return n.ID == at.Node })
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
