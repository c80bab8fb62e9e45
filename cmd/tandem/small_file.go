package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxSmall is how large a file with a secret or with certificates may be, in bytes.
const maxSmall = 64 << 10

// errLarge says that a file is not what it should be.
var errLarge = errors.New("has more than 64 KiB: it is not a file with a secret or a certificate")

// readSmall reads a file that the user names for a secret or certificates. It may be a pipe; one without an end is refused.
func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(b) > maxSmall {
		err = fmt.Errorf("%s %w", name, errLarge)
	}
	return b, err
}
