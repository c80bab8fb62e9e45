package agent

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestViewers: only tokens that the coordinators told of, as long as they last, and nothing before they have told.
func TestViewers(t *testing.T) {
	now := time.Unix(1000, 0)
	told := &viewers{}
	told.put([]*tandemv1.ViewerToken{
		{Sha256: identity.HashToken("tdm_forever")},
		{Sha256: identity.HashToken("tdm_good"), ExpiresAt: timestamppb.New(now.Add(time.Second))},
		{Sha256: identity.HashToken("tdm_over"), ExpiresAt: timestamppb.New(now)},
	})
	for _, c := range []struct {
		viewers *viewers
		header  string
		want    error
	}{
		{told, "Bearer tdm_forever", nil},
		{told, "bearer  tdm_good", nil},
		{told, "Bearer tdm_over", errEnded},
		{told, "Bearer tdm_none", errNoToken},
		{told, "Bearer ", errNoToken},
		{told, "Basic tdm_good", errNoToken},
		{told, "", errNoToken},
		{&viewers{}, "Bearer tdm_good", errUntold},
		{&viewers{}, "", errNoToken},
	} {
		if got := c.viewers.check(&http.Request{Header: http.Header{"Authorization": {c.header}}}, now); !errors.Is(got, c.want) {
			t.Errorf("%q: %v, want %v", c.header, got, c.want)
		}
	}
}
