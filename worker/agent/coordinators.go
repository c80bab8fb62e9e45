package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// coordinators are the coordinators known and the one that is called now. Any of them will do.
type coordinators struct {
	http *http.Client

	mu        sync.Mutex
	addresses []string
	current   string
}

func newCoordinators(client *http.Client, addresses []string) *coordinators {
	c := &coordinators{http: client}
	c.learn(addresses)
	return c
}

// learn replaces the list, if there is anything in it, and tells whether that changed it.
func (c *coordinators) learn(addresses []string) bool {
	var fresh []string
	for _, a := range addresses {
		if a != "" && !slices.Contains(fresh, a) {
			fresh = append(fresh, a)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(fresh) == 0 || slices.Equal(fresh, c.addresses) {
		return false
	}
	c.addresses = fresh
	if !slices.Contains(fresh, c.current) {
		c.current = fresh[0]
	}
	return true
}

// client calls the current coordinator.
func (c *coordinators) client() (tandemv1connect.AgentServiceClient, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tandemv1connect.NewAgentServiceClient(c.http, "https://"+c.current, schema.Speak(c.level)), c.current
}

// level is the feature level up to which the coordinators are spoken to.
func (c *coordinators) level() int {
	if s, ok := c.http.Transport.(*identity.Speaker); ok {
		return s.Level()
	}
	return schema.Known
}

// failed moves on to the next coordinator, unless another caller has done so.
func (c *coordinators) failed(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != address || len(c.addresses) == 0 {
		return
	}
	i := slices.Index(c.addresses, address)
	c.current = c.addresses[(i+1)%len(c.addresses)]
}

// elsewhere tells whether another coordinator, or the same one later, may answer better.
func elsewhere(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeFailedPrecondition, connect.CodeInvalidArgument, connect.CodePermissionDenied, connect.CodeUnimplemented:
		return false
	}
	return true
}

// until calls f with one coordinator after the other, with time for each, until one answers, refuses, or ctx ends.
func (c *coordinators) until(ctx context.Context, each time.Duration, f func(context.Context, tandemv1connect.AgentServiceClient) error) error {
	wait := newBackoff()
	for {
		client, address := c.client()
		call, cancel := context.WithTimeout(ctx, each)
		err := f(call, client)
		cancel()
		if err == nil || !elsewhere(err) {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		c.failed(address)
		if wait.sleep(ctx) != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (c *coordinators) set(ctx context.Context, req *tandemv1.RendezvousSetRequest) error {
	return c.until(ctx, 10*time.Second, func(ctx context.Context, client tandemv1connect.AgentServiceClient) error {
		_, err := client.RendezvousSet(ctx, connect.NewRequest(req))
		return err
	})
}

func (c *coordinators) get(ctx context.Context, req *tandemv1.RendezvousGetRequest) ([]byte, error) {
	var value []byte
	err := c.until(ctx, 30*time.Second, func(ctx context.Context, client tandemv1connect.AgentServiceClient) error {
		res, err := client.RendezvousGet(ctx, connect.NewRequest(req))
		if err == nil {
			value = res.Msg.GetValue()
		}
		return err
	})
	return value, err
}

func (c *coordinators) progress(ctx context.Context, all []*tandemv1.Progress) error {
	client, _ := c.client()
	_, err := client.ReportProgress(ctx, connect.NewRequest(&tandemv1.ReportProgressRequest{Progress: all}))
	return err
}

// backoff is the time between attempts: from 50 ms, doubling to 400 ms while an election may be the reason, then to 3 s; each cut at
// random so that nodes spread.
type backoff struct {
	next  time.Duration
	tries int
}

const (
	shortestWait  = 50 * time.Millisecond
	electionWait  = 400 * time.Millisecond
	electionTries = 12 // some 3 s
	longestWait   = 3 * time.Second
)

func newBackoff() *backoff { return &backoff{next: shortestWait} }

func (b *backoff) reset() { *b = backoff{next: shortestWait} }

func (b *backoff) sleep(ctx context.Context) error {
	d := b.next/2 + rand.N(b.next/2+1)
	b.tries++
	limit := electionWait
	if b.tries >= electionTries {
		limit = longestWait
	}
	b.next = min(2*b.next, limit)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
