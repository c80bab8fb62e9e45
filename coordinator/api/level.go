package api

import (
	"fmt"
	"net/http"
	"strconv"

	"connectrpc.com/connect"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
)

// skewed says why a program that says its feature level may not speak to this coordinator: it is more than one release away.
// Whoever says none may: curl, a browser, the first release.
func skewed(h http.Header) error {
	theirs, err := strconv.Atoi(h.Get(identity.LevelHeader))
	switch {
	case err != nil:
		return nil
	case theirs > schema.Known+1:
		return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("the program that asks knows feature level %d and this coordinator %d: upgrade the coordinators first, one release after the other", theirs, schema.Known))
	case theirs < schema.Known-1:
		return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("the program that asks knows feature level %d and this coordinator %d: upgrade that program, one release after the other", theirs, schema.Known))
	}
	return nil
}
