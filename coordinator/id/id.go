package id

import (
	"strings"

	"github.com/oklog/ulid/v2"
)

// New mints an identity, such as New("job").
func New(noun string) string { return noun + "-" + strings.ToLower(ulid.Make().String()) }
