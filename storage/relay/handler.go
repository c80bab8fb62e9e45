package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tandem.dev/storage"
)

// Access is what a caller has of a store.
type Access struct {
	Store storage.Store
	// Allow says whether the caller may do this with a key, or with all keys of a prefix; nil: yes. Its error says what may not be.
	Allow func(op Op, key string) error
}

// Handler serves to each request what access says its sender has. An error of access is answered as denied, unless it is that the store
// is unavailable.
func Handler(access func(*http.Request) (Access, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := access(r)
		if err != nil {
			if !errors.Is(err, storage.ErrUnavailable) {
				err = fmt.Errorf("%w: %w", storage.ErrDenied, err)
			}
			refuse(w, err)
			return
		}
		a.serve(w, r)
	})
}

// Path is where a Handler is to be mounted.
const Path = pathPrefix

func (a Access) serve(w http.ResponseWriter, r *http.Request) {
	key, ok := strings.CutPrefix(r.URL.Path, pathPrefix)
	if !ok {
		refuse(w, fmt.Errorf("%w: %q is not a path of the relay", storage.ErrInvalidKey, r.URL.Path))
		return
	}
	op := map[string]Op{http.MethodGet: Get, http.MethodHead: Get, http.MethodPut: Put, http.MethodDelete: Delete}[r.Method]
	check := storage.CheckKey
	if key == "" {
		op, key, check = List, r.URL.Query().Get("prefix"), storage.CheckPrefix
	}
	err := check(key)
	if err == nil && a.Allow != nil {
		if err = a.Allow(op, key); err != nil {
			err = fmt.Errorf("%w: %s %s: %w", storage.ErrDenied, op, key, err)
		}
	}
	if err == nil {
		switch {
		case op == List:
			a.list(w, r, key)
		case r.Method == http.MethodHead:
			err = a.head(w, r, key)
		case op == Get:
			err = a.get(w, r, key)
		case op == Put:
			err = a.put(r, key)
		case op == Delete:
			err = a.Store.Delete(r.Context(), key)
		default:
			err = fmt.Errorf("the method %s is not known", r.Method)
		}
	}
	if err != nil {
		_, _ = io.Copy(io.Discard, r.Body) // who is still sending does not hear the answer
		refuse(w, err)
	}
}

func refuse(w http.ResponseWriter, err error) {
	name, code := nameOf(err)
	w.Header().Set(errorHeader, name)
	http.Error(w, err.Error(), code)
}

func describe(w http.ResponseWriter, info storage.Info) {
	w.Header().Set(sizeHeader, strconv.FormatInt(info.Size, 10))
	w.Header().Set(mtimeHeader, info.ModTime.UTC().Format(time.RFC3339Nano))
}

func (a Access) head(w http.ResponseWriter, r *http.Request, key string) error {
	info, err := a.Store.Head(r.Context(), key)
	if err == nil {
		describe(w, info)
	}
	return err
}

func (a Access) get(w http.ResponseWriter, r *http.Request, key string) error {
	if text := r.Header.Get("Range"); text != "" {
		var off, last int64
		if _, err := fmt.Sscanf(text, "bytes=%d-%d", &off, &last); err != nil {
			return fmt.Errorf("%w: range %.40q", storage.ErrSize, text)
		}
		body, err := a.Store.GetRange(r.Context(), key, off, last-off+1)
		if err != nil {
			return err
		}
		stream(w, body)
		return nil
	}
	body, info, err := a.Store.Get(r.Context(), key)
	if err != nil {
		return err
	}
	describe(w, info)
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	stream(w, body)
	return nil
}

// stream sends a body. A body that breaks off breaks the answer off, so that nobody takes a part for the whole.
func stream(w http.ResponseWriter, body io.ReadCloser) {
	defer body.Close()
	if _, err := io.CopyBuffer(onlyWriter{w}, body, make([]byte, bufferBytes)); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// bufferBytes is what is held of an object on its way.
const bufferBytes = 256 << 10

// onlyWriter hides ReadFrom, which would use a buffer of its own that is small.
type onlyWriter struct{ io.Writer }

func (a Access) put(r *http.Request, key string) error {
	if r.ContentLength < 0 {
		return fmt.Errorf("%w: the size of %s is not given", storage.ErrSize, key)
	}
	if r.Header.Get(commitHeader) == "" {
		sum, err := strconv.ParseUint(r.Header.Get(sumHeader), 16, 32)
		if err != nil {
			return fmt.Errorf("the checksum of %s is not given: %w", key, err)
		}
		return a.Store.Put(r.Context(), key, storage.Announced{Reader: r.Body, CRC32C: uint32(sum)}, r.ContentLength)
	}
	if r.ContentLength > storage.MaxCommit {
		return fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", storage.ErrSize, key, r.ContentLength, storage.MaxCommit)
	}
	b := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, b); err != nil {
		return fmt.Errorf("%w: read %s: %w", storage.ErrSize, key, err)
	}
	return a.Store.PutIfAbsent(r.Context(), key, b)
}

func (a Access) list(w http.ResponseWriter, r *http.Request, prefix string) {
	e := json.NewEncoder(w)
	for info, err := range a.Store.List(r.Context(), prefix) {
		line := listed{Info: &info}
		if err != nil {
			name, _ := nameOf(err)
			line = listed{Error: name, Text: err.Error()}
		}
		if e.Encode(line) != nil || err != nil {
			return
		}
	}
	_ = e.Encode(listed{End: true}) // who does not get it takes the list for broken
}
