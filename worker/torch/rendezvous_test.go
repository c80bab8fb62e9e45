package torch_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// board is a Rendezvous in memory.
type board struct {
	mu      sync.Mutex
	values  map[string][]byte
	changed chan struct{} // closed and replaced with each Set
}

func newBoard() *board {
	return &board{values: map[string][]byte{}, changed: make(chan struct{})}
}

func (b *board) Set(_ context.Context, key string, value []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.values[key] = bytes.Clone(value)
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

func (b *board) Get(ctx context.Context, key string) ([]byte, error) {
	for {
		b.mu.Lock()
		value, ok := b.values[key]
		changed := b.changed
		b.mu.Unlock()
		if ok {
			return value, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ServeHTTP gives a board to other processes, as remoteBoard sees it.
func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.URL.Query().Get("key")
	if r.Method == http.MethodPut {
		value, err := io.ReadAll(r.Body)
		if err == nil {
			err = b.Set(r.Context(), key, value)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		return
	}
	if value, err := b.Get(r.Context(), key); err == nil {
		w.Write(value)
	}
}

// remoteBoard is the URL of a board in another process.
type remoteBoard string

func (u remoteBoard) Set(ctx context.Context, key string, value []byte) error {
	_, err := u.do(ctx, http.MethodPut, key, value)
	return err
}

func (u remoteBoard) Get(ctx context.Context, key string) ([]byte, error) {
	return u.do(ctx, http.MethodGet, key, nil)
}

func (u remoteBoard) do(ctx context.Context, method, key string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, string(u)+"?key="+url.QueryEscape(key), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("rendezvous: %s", resp.Status)
	}
	return io.ReadAll(resp.Body)
}
