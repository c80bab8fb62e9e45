package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// board is where ranks leave values for each other: PUT /key sets one, GET /key waits for it.
type board struct {
	mu      sync.Mutex
	values  map[string][]byte
	changed chan struct{}
}

func newBoard() *board {
	return &board{values: map[string][]byte{}, changed: make(chan struct{})}
}

func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		value, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b.mu.Lock()
		b.values[r.URL.Path] = value
		close(b.changed)
		b.changed = make(chan struct{})
		b.mu.Unlock()
		return
	}
	for {
		b.mu.Lock()
		value, ok := b.values[r.URL.Path]
		changed := b.changed
		b.mu.Unlock()
		if ok {
			_, _ = w.Write(value) // a rank that is gone has no use for it
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// meeting is a rank's side of a board on a unix socket. It is a torch.Rendezvous.
type meeting struct{ client http.Client }

func newMeeting(socket string) *meeting {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &meeting{http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Set leaves a value for the other ranks.
func (m *meeting) Set(ctx context.Context, key string, value []byte) error {
	_, err := m.do(ctx, http.MethodPut, key, value)
	return err
}

// Get waits for a value another rank sets.
func (m *meeting) Get(ctx context.Context, key string) ([]byte, error) {
	return m.do(ctx, http.MethodGet, key, nil)
}

func (m *meeting) do(ctx context.Context, method, key string, value []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://board/"+key, bytes.NewReader(value))
	if err != nil {
		return nil, fmt.Errorf("rendezvous %s: %w", key, err)
	}
	response, err := m.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("rendezvous %s: %w", key, err)
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}
