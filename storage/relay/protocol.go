package relay

import (
	"errors"
	"fmt"
	"net/http"

	"tandem.dev/storage"
)

// Op is what is done with a key.
type Op string

// Ops. Get stands for Head and GetRange too; List comes with a prefix instead of a key; Put stands for PutIfAbsent too.
const (
	Get    Op = "get"
	Put    Op = "put"
	List   Op = "list"
	Delete Op = "delete"
)

const (
	pathPrefix   = "/objects/" // then the key, or nothing for a list
	errorHeader  = "Tandem-Storage-Error"
	sizeHeader   = "Tandem-Object-Size" // of the whole object
	mtimeHeader  = "Tandem-Object-Time" // RFC 3339
	commitHeader = "Tandem-If-Absent"   // on a PUT: PutIfAbsent
	sumHeader    = "Tandem-Crc32c"      // on another PUT: that of the body, hexadecimal
)

// names are the sentinels as they travel.
var names = []struct {
	name string
	err  error
	code int
}{
	{"not-found", storage.ErrNotFound, http.StatusNotFound},
	{"exists", storage.ErrExists, http.StatusConflict},
	{"invalid-key", storage.ErrInvalidKey, http.StatusBadRequest},
	{"denied", storage.ErrDenied, http.StatusForbidden},
	{"full", storage.ErrFull, http.StatusInsufficientStorage},
	{"size", storage.ErrSize, http.StatusRequestedRangeNotSatisfiable},
	{"unavailable", storage.ErrUnavailable, http.StatusServiceUnavailable},
}

// nameOf is how an error travels, "" for one that is none of the sentinels.
func nameOf(err error) (name string, code int) {
	for _, n := range names {
		if errors.Is(err, n.err) {
			return n.name, n.code
		}
	}
	return "", http.StatusInternalServerError
}

// remoteError is an error of the store behind a Handler.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

func errorOf(name, text string) error {
	for _, n := range names {
		if n.name == name {
			return &remoteError{text, n.err}
		}
	}
	return fmt.Errorf("the store's relay: %s", text)
}

// listed is a line of a list. The last one has End; an error comes instead of it.
type listed struct {
	Info  *storage.Info `json:"info,omitempty"`
	Error string        `json:"error,omitempty"`
	Text  string        `json:"text,omitempty"`
	End   bool          `json:"end,omitempty"`
}
