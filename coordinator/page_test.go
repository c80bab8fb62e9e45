package coordinator

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"tandem.dev/proto/page"
)

// TestPageTokens: each call that takes a page token refuses what is none, and the token of another list.
func TestPageTokens(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	good := map[page.List]string{
		page.Jobs: "00000000001796100000.000000001/job-01m8q", page.Trials: "7", page.SweepEvents: "7",
		page.Events: "00000000000000000042.000", page.Audit: "1796100000000000000/node-1/00ff",
	}
	of := map[string]page.List{
		"ListJobs": page.Jobs, "ListTrials": page.Trials, "ListSweepEvents": page.SweepEvents, "ListEvents": page.Events, "ListAudit": page.Audit,
	}
	walked := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("tandem.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				if m.Input().Fields().ByName("page_token") == nil {
					continue
				}
				walked++
				own, ok := of[string(m.Name())]
				if !ok {
					t.Errorf("no list of %s is known", m.FullName())
					continue
				}
				junk := []string{"x", "0", "-1", string(own) + ":", string(own) + ":x", good[own], own.Token(good[own]) + "\\n"}
				for other, place := range good {
					if other != own {
						junk = append(junk, other.Token(place))
					}
				}
				path := fmt.Sprintf("%s/%s/%s", r.url(), m.Parent().FullName(), m.Name())
				for _, token := range junk {
					status, body := do(t, c, http.MethodPost, path, `{"pageToken": "`+token+`"}`)
					if status != http.StatusBadRequest || !strings.Contains(body, "is not a page token of this list") || !strings.Contains(body, "invalid_argument") {
						t.Errorf("%s takes %q: %d %s", m.FullName(), token, status, body)
					}
				}
				if _, body := do(t, c, http.MethodPost, path, `{"pageToken": "`+own.Token(good[own])+`"}`); strings.Contains(body, "page token") {
					t.Errorf("%s refuses its own: %s", m.FullName(), body)
				}
			}
		}
		return true
	})
	if walked != len(of) {
		t.Errorf("%d calls take a page token, %d are known", walked, len(of))
	}
	status, body := do(t, c, http.MethodPost, r.url()+"/tandem.v1.EventService/ListEvents", `{"after": "x"}`)
	if status != http.StatusBadRequest || !strings.Contains(body, "is not the id of an event") {
		t.Errorf("events after what is none: %d %s", status, body)
	}
}
