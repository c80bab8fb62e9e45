package sealed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrCorrupt: the bytes are not a sealed document, or not the ones that were sealed.
var ErrCorrupt = errors.New("corrupt document")

const (
	head    = `{"body":`
	middle  = `,"sha256":"`
	tail    = "\"}\n"
	minimum = len(head) + 2 + len(middle) + 2*sha256.Size + len(tail)
)

// Marshal seals v, which must encode to a JSON object.
func Marshal(v any) ([]byte, error) {
	body, err := canonical(v)
	if err != nil {
		return nil, fmt.Errorf("seal document: %w", err)
	}
	if len(body) < 2 || body[0] != '{' {
		return nil, fmt.Errorf("seal document: %T is not a JSON object", v)
	}
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, "%s%s%s%s%s", head, body, middle, hex.EncodeToString(sum[:]), tail), nil
}

// Unmarshal reads a sealed document into v, a pointer to a struct. Everything but the exact
// bytes that Marshal would write for the result is ErrCorrupt: another hash, an unknown or
// doubled field, other white space.
func Unmarshal(b []byte, v any) error {
	if len(b) < minimum || !bytes.HasPrefix(b, []byte(head)) || !bytes.HasSuffix(b, []byte(tail)) {
		return fmt.Errorf("%w: not a sealed JSON document (%d bytes)", ErrCorrupt, len(b))
	}
	rest := b[:len(b)-len(tail)]
	want := string(rest[len(rest)-2*sha256.Size:])
	rest = rest[:len(rest)-2*sha256.Size]
	body, ok := bytes.CutSuffix(rest[len(head):], []byte(middle))
	if !ok {
		return fmt.Errorf("%w: not a sealed JSON document: its sha256 is missing", ErrCorrupt)
	}
	sum := sha256.Sum256(body)
	if got := hex.EncodeToString(sum[:]); got != want {
		return fmt.Errorf("%w: its sha256 is %s, it says %.64q", ErrCorrupt, got, want)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: bytes follow the document", ErrCorrupt)
	}
	again, err := canonical(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if !bytes.Equal(again, body) {
		return fmt.Errorf("%w: not in canonical form", ErrCorrupt)
	}
	return nil
}

// Parse reads a sealed document of at most limit bytes and has its content checked.
// ErrCorrupt.
func Parse[T any](b []byte, limit int, check func(T) error) (T, error) {
	var v, none T
	if len(b) > limit {
		return none, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrCorrupt, len(b), limit)
	}
	if err := Unmarshal(b, &v); err != nil {
		return none, err
	}
	if err := check(v); err != nil {
		return none, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return v, nil
}

func canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
