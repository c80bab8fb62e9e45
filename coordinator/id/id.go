package id

import (
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// New mints an identity, such as New("job").
func New(noun string) string { return noun + "-" + strings.ToLower(ulid.Make().String()) }

// Time is when New made an identity of a noun; false when it did not.
func Time(noun, id string) (made time.Time, ok bool) {
	text, ok := strings.CutPrefix(id, noun+"-")
	u, err := ulid.ParseStrict(strings.ToUpper(text))
	if !ok || err != nil || strings.ToLower(text) != text {
		return time.Time{}, false
	}
	return ulid.Time(u.Time()), true
}
