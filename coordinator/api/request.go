package api

import (
	"context"

	"tandem.dev/coordinator/id"
)

// requestKey is the key under which the result of a write is remembered. Clients choose their request ids without
// knowing of each other, so that who asks is a part of it.
func requestKey(ctx context.Context, requestID string) string {
	if requestID == "" {
		return id.New("req")
	}
	return From(ctx).Name + "/" + requestID
}
