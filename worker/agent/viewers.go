package agent

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// viewers are the tokens that may read metrics, as the coordinators last told: the agent asks nobody at a scrape, and goes on to
// answer while no coordinator does.
type viewers struct {
	tokens atomic.Pointer[map[string]time.Time] // when each ends, by the hash of its secret; zero: never
}

func (s *viewers) put(all []*tandemv1.ViewerToken) {
	tokens := make(map[string]time.Time, len(all))
	for _, t := range all {
		ends := time.Time{}
		if t.GetExpiresAt() != nil {
			ends = t.GetExpiresAt().AsTime()
		}
		tokens[t.GetSha256()] = ends
	}
	s.tokens.Store(&tokens)
}

var (
	errNoToken = errors.New("this needs a bearer token of role viewer (make one with \"tandem token create prometheus --role viewer\"), or a certificate of the cluster; tokens of users and admins are not for agents")
	errEnded   = errors.New("the time of this token is over: make another one with \"tandem token create prometheus --role viewer\"")
	errUntold  = errors.New("no coordinator has told yet which tokens may read this: try again in a moment")
)

// check says why a request may not read metrics by its token; nil: it may.
func (s *viewers) check(r *http.Request, now time.Time) error {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return errNoToken
	}
	tokens := s.tokens.Load()
	if tokens == nil {
		return errUntold
	}
	switch ends, ok := (*tokens)[identity.HashToken(strings.TrimSpace(secret))]; {
	case !ok:
		return errNoToken
	case !ends.IsZero() && !now.Before(ends):
		return errEnded
	}
	return nil
}
