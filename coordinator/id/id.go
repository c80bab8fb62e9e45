// Package id mints the identities of rows: a noun, "-" and a ULID in lower case, so that they sort by creation.
package id

import (
	"strings"

	"github.com/oklog/ulid/v2"
)

// New mints an identity, such as New("job").
func New(noun string) string { return noun + "-" + strings.ToLower(ulid.Make().String()) }
