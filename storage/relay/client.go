package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"tandem.dev/storage"
)

// Client is a storage.Store behind a Handler.
type Client struct{ http *http.Client }

var _ storage.Store = (*Client)(nil)

// MaxRequests is how many requests a Client has under way; more wait. An open reader is one.
const MaxRequests = 16

// New returns the store that a Handler serves to the connections that dial makes.
func New(dial func(context.Context) (net.Conn, error)) *Client {
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return wide{conn}, nil
		},
		MaxConnsPerHost: MaxRequests, MaxIdleConnsPerHost: MaxRequests, IdleConnTimeout: time.Minute, DisableCompression: true,
	}}}
}

// Close gives up idle connections. The client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// wide is a connection on which bodies go in large pieces: each piece is a system call here and one at the other end.
type wide struct{ net.Conn }

// ReadFrom implements io.ReaderFrom, which net/http uses for bodies.
func (w wide) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(onlyWriter{w.Conn}, r, make([]byte, bufferBytes))
}

// base is where a Handler is, whatever dial connects with.
const base = "http://relay" + pathPrefix

// do sends a request; an answer that is an error is one.
func (c *Client) do(ctx context.Context, method, key string, body io.Reader, size int64, header map[string]string) (*http.Response, error) {
	if err := storage.CheckKey(key); err != nil {
		return nil, err
	}
	return c.send(ctx, method, base+key, body, size, header)
}

func (c *Client) send(ctx context.Context, method, address string, body io.Reader, size int64, header map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := c.http.Do(req)
	if ctx.Err() != nil {
		if res != nil {
			_ = res.Body.Close()
		}
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	said := strings.TrimSpace(string(text))
	if said == "" { // the answer to a HEAD has no body
		said = fmt.Sprintf("%s %s: %s", strings.ToLower(method), strings.TrimPrefix(address, base), res.Status)
	}
	return nil, errorOf(res.Header.Get(errorHeader), said)
}

// exact is a body of a size that its reader does not exceed or miss: the last bytes are held back until the reader has ended.
type exact struct {
	r      io.Reader
	left   int64
	err    error // why the body was broken off
	closed chan struct{}
	once   sync.Once
}

func (b *exact) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		b.err = err
	case b.left == 0:
		b.err = ended(b.r)
	case err != nil:
		b.err = fmt.Errorf("%w: it has %d bytes too few", storage.ErrSize, b.left)
	}
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		err = io.EOF
	}
	return n, err
}

// ended tells what comes where a reader should end.
func ended(r io.Reader) error {
	var one [1]byte
	_, err := io.ReadFull(r, one[:])
	if err == nil {
		return fmt.Errorf("%w: it has more bytes than announced", storage.ErrSize)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (b *exact) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// Put implements storage.Store. A body that cannot be read twice is held in memory, unless it is a storage.Announced.
func (c *Client) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	if announced, ok := r.(storage.Announced); ok {
		return c.put(ctx, key, announced, size)
	}
	body, ok := r.(io.ReadSeeker)
	if !ok {
		b, err := io.ReadAll(io.LimitReader(r, size+1))
		if err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
		body = bytes.NewReader(b)
	}
	begin, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	sum, err := storage.CRC32C(body, size)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	for try := 1; ; try++ {
		err := c.put(ctx, key, storage.Announced{Reader: body, CRC32C: sum}, size)
		if !errors.Is(err, storage.ErrUnavailable) || try == tries || pause(ctx, try) != nil {
			return err
		}
		if _, err := body.Seek(begin, io.SeekStart); err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
	}
}

// tries of a body, which the other side cannot send again because it does not hold it.
const tries = 3

// pause waits a little longer with each try, and never exactly as long as others do.
func pause(ctx context.Context, try int) error {
	select {
	case <-time.After(time.Duration(try) * (100*time.Millisecond + rand.N(100*time.Millisecond))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// put sends a body once.
func (c *Client) put(ctx context.Context, key string, r storage.Announced, size int64) error {
	header := map[string]string{sumHeader: strconv.FormatUint(uint64(r.CRC32C), 16)}
	if size == 0 {
		if err := ended(r); err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
		return c.simple(ctx, http.MethodPut, key, nil, header)
	}
	body := &exact{r: r, left: size, closed: make(chan struct{})}
	res, err := c.do(ctx, http.MethodPut, key, body, size, header)
	<-body.closed // from here on the reader is the caller's again
	if body.err != nil {
		return fmt.Errorf("put %s: %w", key, body.err)
	}
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// simple sends a request whose answer has nothing to tell.
func (c *Client) simple(ctx context.Context, method, key string, b []byte, header map[string]string) error {
	var body io.Reader = http.NoBody
	if len(b) > 0 {
		body = bytes.NewReader(b)
	}
	res, err := c.do(ctx, method, key, body, int64(len(b)), header)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// PutIfAbsent implements storage.Store.
func (c *Client) PutIfAbsent(ctx context.Context, key string, b []byte) error {
	if len(b) > storage.MaxCommit {
		return fmt.Errorf("put %s: %w: %d bytes are more than %d", key, storage.ErrSize, len(b), storage.MaxCommit)
	}
	return c.simple(ctx, http.MethodPut, key, b, map[string]string{commitHeader: "yes"})
}

// Get implements storage.Store.
func (c *Client) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	res, err := c.do(ctx, http.MethodGet, key, nil, 0, nil)
	if err != nil {
		return nil, storage.Info{}, err
	}
	info, err := infoOf(key, res)
	if err != nil {
		_ = res.Body.Close()
		return nil, info, err
	}
	return reader{ctx, res.Body}, info, nil
}

// GetRange implements storage.Store.
func (c *Client) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if off < 0 || n <= 0 || off > math.MaxInt64-n {
		return nil, fmt.Errorf("read %s: %w: %d bytes from %d", key, storage.ErrSize, n, off)
	}
	res, err := c.do(ctx, http.MethodGet, key, nil, 0, map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", off, off+n-1)}) //nolint:bodyclose // the caller closes it
	if err != nil {
		return nil, err
	}
	return reader{ctx, res.Body}, nil
}

// reader is a body whose errors are those of a store.
type reader struct {
	ctx context.Context
	io.ReadCloser
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	switch {
	case err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return n, err
	case r.ctx.Err() != nil:
		return n, r.ctx.Err()
	}
	return n, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}

// Head implements storage.Store.
func (c *Client) Head(ctx context.Context, key string) (storage.Info, error) {
	res, err := c.do(ctx, http.MethodHead, key, nil, 0, nil)
	if err != nil {
		return storage.Info{}, err
	}
	defer res.Body.Close()
	return infoOf(key, res)
}

func infoOf(key string, res *http.Response) (storage.Info, error) {
	size, err := strconv.ParseInt(res.Header.Get(sizeHeader), 10, 64)
	if err != nil {
		return storage.Info{}, fmt.Errorf("%w: the relay does not say the size of %s", storage.ErrUnavailable, key)
	}
	at, err := time.Parse(time.RFC3339Nano, res.Header.Get(mtimeHeader))
	if err != nil {
		return storage.Info{}, fmt.Errorf("%w: the relay does not say the time of %s", storage.ErrUnavailable, key)
	}
	return storage.Info{Key: key, Size: size, ModTime: at}, nil
}

// List implements storage.Store.
func (c *Client) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		err := storage.CheckPrefix(prefix)
		var res *http.Response
		if err == nil {
			res, err = c.send(ctx, http.MethodGet, base+"?prefix="+url.QueryEscape(prefix), nil, 0, nil)
		}
		if err != nil {
			yield(storage.Info{}, err)
			return
		}
		defer res.Body.Close()
		for d := json.NewDecoder(reader{ctx, res.Body}); ; {
			var line listed
			err := d.Decode(&line)
			switch {
			case err == nil && line.End:
				return
			case err == nil && line.Info != nil:
				if !yield(*line.Info, nil) {
					return
				}
				continue
			case err == nil:
				err = errorOf(line.Error, line.Text)
			case ctx.Err() != nil:
				err = ctx.Err()
			default:
				err = fmt.Errorf("%w: the list of %s breaks off: %w", storage.ErrUnavailable, prefix, err)
			}
			yield(storage.Info{}, err)
			return
		}
	}
}

// Delete implements storage.Store.
func (c *Client) Delete(ctx context.Context, key string) error {
	return c.simple(ctx, http.MethodDelete, key, nil, nil)
}
