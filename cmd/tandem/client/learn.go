package client

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"tandem.dev/proto/identity"
)

// maxCoordinators bounds how many coordinators are remembered.
const maxCoordinators = 32

// Learn makes the client ask also the coordinators that those it reaches name, so that it outlives the ones its context
// began with. A context without a CA learns nothing: its endpoint is a proxy, behind which nobody else can be verified.
func (c *Client) Learn() {
	if t, ok := c.HTTP.Transport.(*rotating); ok {
		t.learns = c.Context.CA != ""
	}
}

// Learned returns the context with the coordinators' current addresses and the endpoint that answered last, and whether
// anything in it has changed.
func (c *Client) Learned() (Context, bool) {
	now := c.Context
	if t, ok := c.HTTP.Transport.(*rotating); ok {
		now.Coordinators = t.reach.Load().Coordinators
		if at := t.answered.Load(); at != nil && *at != c.Context.Reach()[0] {
			now.Answered = *at
		}
	}
	if now.Answered == now.Endpoints[0] {
		now.Answered = "" // it is the first anyway
	}
	return now, now.Answered != c.Context.Answered || !slices.Equal(now.Coordinators, c.Context.Coordinators)
}

// reach is all endpoints the client asks now.
func (c *Client) reach() []string {
	if t, ok := c.HTTP.Transport.(*rotating); ok {
		return t.reach.Load().Reach()
	}
	return c.Context.Reach()
}

// Reach lists the endpoints of a context in the order to try: the last that answered, those the user gave, then the others.
func (c Context) Reach() []string {
	var all []string
	if slices.Contains(c.Endpoints, c.Answered) || slices.Contains(c.Coordinators, c.Answered) {
		all = append(all, c.Answered)
	}
	for _, e := range c.Endpoints {
		if e != c.Answered {
			all = append(all, e)
		}
	}
	for _, e := range c.Coordinators {
		if !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	return all
}

// learn takes the coordinators that an answer names. An answer without any changes nothing.
func (t *rotating) learn(h http.Header) {
	now := t.reach.Load()
	named := coordinatorsIn(h.Get(identity.CoordinatorsHeader))
	if len(named) == 0 {
		return
	}
	next := *now
	next.Coordinators = slices.DeleteFunc(named, func(e string) bool { return slices.Contains(now.Endpoints, e) })
	if !slices.Equal(next.Coordinators, now.Coordinators) {
		t.reach.CompareAndSwap(now, &next) // another answer was first: it knows as well
	}
}

// coordinatorsIn reads the header, sorted; what is not a host:port is left out.
func coordinatorsIn(header string) []string {
	var all []string
	for e := range strings.SplitSeq(header, ",") {
		e = strings.TrimSpace(e)
		host, port, err := net.SplitHostPort(e)
		if err != nil || host == "" || port == "" || strings.ContainsFunc(e, func(r rune) bool { return r <= ' ' || r > '~' }) {
			continue
		}
		all = append(all, e)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(len(all), maxCoordinators)]
}

// Remember saves the coordinators of a context in the file at path, unless that has another context of the name by now.
func Remember(path string, c Context) error {
	f, err := Load(path)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(f.Contexts, func(o Context) bool {
		return o.Name == c.Name && o.CA == c.CA && o.Token == c.Token && slices.Equal(o.Endpoints, c.Endpoints)
	})
	if i < 0 {
		return nil
	}
	f.Contexts[i].Coordinators, f.Contexts[i].Answered = c.Coordinators, c.Answered
	return f.Save()
}
