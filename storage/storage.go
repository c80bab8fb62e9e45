package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Errors of a Store, to be matched with errors.Is.
var (
	// ErrNotFound: there is no object of that key.
	ErrNotFound = errors.New("object not found")
	// ErrExists: PutIfAbsent found an object with other bytes.
	ErrExists = errors.New("object exists already")
	// ErrInvalidKey: the key breaks a rule of CheckKey.
	ErrInvalidKey = errors.New("invalid object key")
	// ErrUnavailable: the store did not answer, or not in time; trying again later may help.
	ErrUnavailable = errors.New("storage unavailable")
	// ErrDenied: the store refused the credentials, or what they ask for.
	ErrDenied = errors.New("storage access denied")
	// ErrFull: the store has no room left, or its owner's quota is used up; trying again helps when somebody has freed some.
	ErrFull = errors.New("storage is full")
	// ErrSize: a reader gave fewer or more bytes than announced; nothing was stored.
	ErrSize = errors.New("wrong size")
)

// IsOutage says whether an error is the store's own and ends when somebody mends the store: it is unavailable, or full. What was asked of
// it is kept and asked again.
func IsOutage(err error) bool { return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFull) }

// Info describes an object.
type Info struct {
	Key     string
	Size    int64 // bytes
	ModTime time.Time
}

// Store keeps immutable objects under keys. All methods are safe for concurrent use, obey
// ctx, and return errors that match the sentinels of this package.
//
// Keys pass CheckKey. No key may be a folder of another ("a" and "a/b"), because one of
// the stores keeps its objects as files.
type Store interface {
	// Put stores the size bytes of r. An object is seen whole or not at all. Putting the
	// same bytes again is harmless; putting other bytes under a used key is a fault of
	// the caller. ErrSize if r is shorter or longer than size. Once Put has returned, r and
	// the memory below it are the caller's again.
	Put(ctx context.Context, key string, r io.Reader, size int64) error

	// PutIfAbsent stores a small object (at most MaxCommit bytes) if there is none: of
	// several concurrent callers with different bytes exactly one succeeds, the others
	// get ErrExists. If the object there already has the same bytes the answer is nil,
	// so that a caller who lost an answer may ask again.
	PutIfAbsent(ctx context.Context, key string, b []byte) error

	// Get opens an object for reading; the caller closes it. ErrNotFound.
	Get(ctx context.Context, key string) (io.ReadCloser, Info, error)

	// GetRange opens n bytes from offset off; fewer come where the object ends.
	// off must lie inside the object and n be positive, else ErrSize. ErrNotFound.
	GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)

	// Head describes an object. ErrNotFound.
	Head(ctx context.Context, key string) (Info, error)

	// List yields the objects whose key begins with prefix (any string, a folder or not),
	// in the byte order of their keys. After an error nothing follows.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes an object. It is not an error if there is none.
	Delete(ctx context.Context, key string) error
}

// MaxCommit is the largest object, in bytes, that PutIfAbsent takes.
const MaxCommit = 4 << 20

const (
	maxKey     = 512 // bytes of a key
	maxSegment = 200 // bytes between two slashes: file systems allow 255
)

// CheckKey refuses keys that not every store can hold, with ErrInvalidKey. A key is made of
// segments parted by single slashes; a segment has 1 to 200 of the characters
// A-Z a-z 0-9 . _ - = and does not begin with a dot.
func CheckKey(key string) error {
	if len(key) == 0 || len(key) > maxKey {
		return fmt.Errorf("%w %.80q: must have 1 to %d bytes", ErrInvalidKey, key, maxKey)
	}
	for seg := range strings.SplitSeq(key, "/") {
		if len(seg) == 0 || len(seg) > maxSegment || seg[0] == '.' {
			return fmt.Errorf("%w %q: each part between slashes must have 1 to %d bytes and not begin with a dot", ErrInvalidKey, key, maxSegment)
		}
	}
	return checkChars(key)
}

// CheckPrefix refuses what cannot be the beginning of a key. The empty prefix is fine.
func CheckPrefix(prefix string) error {
	if len(prefix) > maxKey {
		return fmt.Errorf("%w: prefix %.80q is longer than %d bytes", ErrInvalidKey, prefix, maxKey)
	}
	if strings.HasPrefix(prefix, "/") || strings.HasPrefix(prefix, ".") ||
		strings.Contains(prefix, "//") || strings.Contains(prefix, "/.") {
		return fmt.Errorf("%w: no key begins with %q", ErrInvalidKey, prefix)
	}
	return checkChars(prefix)
}

func checkChars(key string) error {
	for i := range len(key) {
		c := key[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-', c == '=', c == '/':
		default:
			return fmt.Errorf("%w %q: byte %q at %d; use A-Z a-z 0-9 . _ - = and /", ErrInvalidKey, key, c, i)
		}
	}
	return nil
}

// ReadAll reads a whole object of at most limit bytes into memory. A larger one is ErrSize,
// so that a wrong object cannot use up the memory.
func ReadAll(ctx context.Context, s Store, key string, limit int64) ([]byte, error) {
	r, info, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if info.Size > limit {
		return nil, fmt.Errorf("read %s: %w: it has %d bytes, at most %d are allowed", key, ErrSize, info.Size, limit)
	}
	b := make([]byte, info.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return b, nil
}

// DeleteAll removes the objects whose keys begin with prefix, and returns how many there were. Some may be gone when it fails.
func DeleteAll(ctx context.Context, s Store, prefix string) (deleted int, err error) {
	for info, err := range s.List(ctx, prefix) {
		if err != nil {
			return deleted, fmt.Errorf("list %s: %w", prefix, err)
		}
		if err := s.Delete(ctx, info.Key); err != nil {
			return deleted, fmt.Errorf("delete %s: %w", info.Key, err)
		}
		deleted++
	}
	return deleted, nil
}
