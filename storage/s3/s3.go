package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"tandem.dev/storage"
)

var _ storage.Store = (*Store)(nil)

// Store keeps objects in a bucket. See New.
type Store struct {
	config    Config
	core      minio.Core
	transport *http.Transport
	clock     *clock
}

// Close gives up idle connections. The store stays usable.
func (s *Store) Close() { s.transport.CloseIdleConnections() }

// name is the key as the server knows it.
func (s *Store) name(key string) string {
	if s.config.Prefix == "" {
		return key
	}
	return s.config.Prefix + "/" + key
}

// Put implements storage.Store. A body that is in memory, or an io.SectionReader at its beginning, goes in one request up to
// Config.OnePut bytes, for a server may have to copy parts into one object in the end. So does a storage.Announced, as large as S3
// allows, without a copy in memory: it is tried once. All else goes in parts, each of which is tried again by itself.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	body := io.Reader(&exactReader{r: r, left: size})
	section, again := r.(*io.SectionReader)
	again = again && section.Size() == size
	announced, told := r.(storage.Announced)
	switch {
	case again:
		body = section // each try begins again, and parts are read side by side, without a copy
	case told && size <= maxOnePut:
	case size <= s.config.PartSize:
		b, err := io.ReadAll(body)
		if err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
		section, again = io.NewSectionReader(bytes.NewReader(b), 0, size), true
		body = section
	}
	opts := minio.PutObjectOptions{
		PartSize:              uint64(s.config.PartSize),
		ConcurrentStreamParts: !told, // each takes memory
		NumThreads:            4,
		ContentType:           "application/octet-stream",
		// TLS guards the bytes on their way, and on a connection without it, which is for loopback, TCP does; whoever reads a
		// checkpoint, a dataset or a version compares it with the SHA-256 in its manifest. One more over each chunk, on both sides,
		// costs 1.5 s of a processor for 1 GiB.
		DisableContentSha256: true,
	}
	switch {
	case told && size <= maxOnePut:
		announce(&opts, announced.CRC32C)
	case again && size <= s.config.OnePut:
		sum, err := storage.CRC32C(section, size)
		if err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
		announce(&opts, sum)
	}
	if _, err := s.core.Client.PutObject(ctx, s.config.Bucket, s.name(key), body, size, opts); err != nil {
		return s.fail(ctx, "put", key, err)
	}
	return nil
}

// PutIfAbsent implements storage.Store.
func (s *Store) PutIfAbsent(ctx context.Context, key string, b []byte) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	if len(b) > storage.MaxCommit {
		return fmt.Errorf("put %s: %w: %d bytes, at most %d can be committed", key, storage.ErrSize, len(b), storage.MaxCommit)
	}
	sum, err := storage.CRC32C(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	opts := minio.PutObjectOptions{
		ContentType: "application/octet-stream",
		// Signing the chunks of an empty body loses its Content-Length, which servers want.
		DisableContentSha256: len(b) == 0,
	}
	opts.SetMatchETagExcept("*") // If-None-Match
	announce(&opts, sum)
	for try := 1; ; try++ {
		_, err := s.core.Client.PutObject(ctx, s.config.Bucket, s.name(key), bytes.NewReader(b), int64(len(b)), opts)
		switch {
		case err == nil:
			return nil
		case status(err) == http.StatusPreconditionFailed:
			return s.compare(ctx, key, b)
		case status(err) == http.StatusConflict && try < s.config.Tries:
			// Another conditional write of this key was under way. Who won shows next time.
			if err := pause(ctx, try); err != nil {
				return s.fail(ctx, "put", key, err)
			}
		default:
			return s.fail(ctx, "put", key, err)
		}
	}
}

// announce makes a body go in one request, with its checksum before it. A server then refuses a body that ends early because its
// sender did; versitygw would take what came for the whole object. And it need not make one of its own, which may be slower than CRC32C.
func announce(opts *minio.PutObjectOptions, sum uint32) {
	opts.DisableMultipart = true
	// With small letters minio-go would refuse the name, unless it may send checksums of its own behind all bodies.
	text := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
	opts.UserMetadata = map[string]string{"X-Amz-Checksum-Crc32c": text}
}

// compare decides about an object that was there before: our own bytes are not a conflict, for
// an earlier try may have stored them and lost its answer.
func (s *Store) compare(ctx context.Context, key string, want []byte) error {
	got, err := storage.ReadAll(ctx, s, key, storage.MaxCommit)
	switch {
	case errors.Is(err, storage.ErrSize):
	case err != nil:
		return fmt.Errorf("put %s: it exists, and reading it failed: %w", key, err)
	case bytes.Equal(got, want):
		return nil
	}
	return fmt.Errorf("put %s: %w", key, storage.ErrExists)
}

// pause waits a little longer with each try, and never exactly as long as others do.
func pause(ctx context.Context, try int) error {
	t := time.NewTimer(time.Duration(try) * (20*time.Millisecond + rand.N(30*time.Millisecond)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	if err := storage.CheckKey(key); err != nil {
		return nil, storage.Info{}, err
	}
	body, info, _, err := s.core.GetObject(ctx, s.config.Bucket, s.name(key), minio.GetObjectOptions{})
	if err != nil {
		return nil, storage.Info{}, s.fail(ctx, "get", key, err)
	}
	return reader{body, s, ctx, key}, storage.Info{Key: key, Size: info.Size, ModTime: info.LastModified}, nil
}

// GetRange implements storage.Store.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := storage.CheckKey(key); err != nil {
		return nil, err
	}
	if off < 0 || n <= 0 || off+n < 0 {
		return nil, fmt.Errorf("get %s: %w: %d bytes from %d", key, storage.ErrSize, n, off)
	}
	var opts minio.GetObjectOptions
	if err := opts.SetRange(off, off+n-1); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	body, _, header, err := s.core.GetObject(ctx, s.config.Bucket, s.name(key), opts)
	if err != nil {
		return nil, s.fail(ctx, "get", key, err)
	}
	// A server that ignores the range would hand out wrong bytes as right ones.
	if want := fmt.Sprintf("bytes %d-", off); !strings.HasPrefix(header.Get("Content-Range"), want) {
		body.Close()
		return nil, fmt.Errorf("get %s: %w: the range from %d was answered with %q", key, storage.ErrSize, off, header.Get("Content-Range"))
	}
	return reader{body, s, ctx, key}, nil
}

// Head implements storage.Store.
func (s *Store) Head(ctx context.Context, key string) (storage.Info, error) {
	if err := storage.CheckKey(key); err != nil {
		return storage.Info{}, err
	}
	info, err := s.core.StatObject(ctx, s.config.Bucket, s.name(key), minio.StatObjectOptions{})
	if err != nil {
		return storage.Info{}, s.fail(ctx, "head", key, err)
	}
	return storage.Info{Key: key, Size: info.Size, ModTime: info.LastModified}, nil
}

// List implements storage.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if err := storage.CheckPrefix(prefix); err != nil {
			yield(storage.Info{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx) // ends the listing when the caller stops early
		defer cancel()
		opts := minio.ListObjectsOptions{Prefix: s.name(prefix), Recursive: true, MaxKeys: s.config.ListPage}
		last := ""
		for o := range s.core.ListObjectsIter(ctx, s.config.Bucket, opts) {
			if o.Err != nil {
				yield(storage.Info{}, s.fail(ctx, "list", prefix, o.Err))
				return
			}
			key := strings.TrimPrefix(o.Key, s.name(""))
			if strings.HasSuffix(key, "/") {
				continue // a folder that some tool made
			}
			if key <= last {
				yield(storage.Info{}, fmt.Errorf("list %s: %w: the server lists %q after %q", prefix, storage.ErrUnavailable, key, last))
				return
			}
			last = key
			if !yield(storage.Info{Key: key, Size: o.Size, ModTime: o.LastModified}, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(storage.Info{}, s.fail(ctx, "list", prefix, err))
		}
	}
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := storage.CheckKey(key); err != nil {
		return err
	}
	err := s.core.RemoveObject(ctx, s.config.Bucket, s.name(key), minio.RemoveObjectOptions{})
	if err != nil {
		if err = s.fail(ctx, "delete", key, err); errors.Is(err, storage.ErrNotFound) {
			return nil
		}
	}
	return err
}

// reader gives errors in the middle of an object their meaning.
type reader struct {
	io.ReadCloser
	s   *Store
	ctx context.Context
	key string
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.s.fail(r.ctx, "get", r.key, err)
	}
	return n, err
}

// exactReader passes on exactly left bytes, or fails with ErrSize before the last of them,
// so that no object of another size is ever complete.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, e.end()
	}
	if int64(len(p)) > e.left {
		p = p[:e.left]
	}
	n, err := e.r.Read(p)
	e.left -= int64(n)
	switch {
	case e.left == 0 && n > 0:
		if end := e.end(); !errors.Is(end, io.EOF) {
			return 0, end
		}
		return n, nil
	case err == io.EOF:
		return n, fmt.Errorf("%w: %d bytes fewer than announced", storage.ErrSize, e.left)
	}
	return n, err
}

// end makes sure that nothing follows.
func (e *exactReader) end() error {
	var one [1]byte
	switch n, err := io.ReadFull(e.r, one[:]); {
	case n > 0:
		return fmt.Errorf("%w: more bytes than announced", storage.ErrSize)
	case err != nil:
		return err // io.EOF when all is well
	}
	return io.EOF
}
