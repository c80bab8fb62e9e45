package audit

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/proto/page"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	defaultLimit = 1000
	maxLimit     = 10_000
)

// Limit is how many entries a request is answered with at most.
func Limit(req *tandemv1.ListAuditRequest) int {
	if req.GetLimit() <= 0 {
		return defaultLimit
	}
	return min(int(req.GetLimit()), maxLimit)
}

// Older is the order of entries: by time, those of one moment by coordinator and by the hash of the line before.
func Older(x, y *tandemv1.AuditEntry) int {
	return cmp.Or(x.GetTime().AsTime().Compare(y.GetTime().AsTime()), cmp.Compare(x.GetCoordinator(), y.GetCoordinator()), cmp.Compare(x.GetPrevious(), y.GetPrevious()))
}

// PageToken asks for the entries that are older than this one.
func PageToken(e *tandemv1.AuditEntry) string {
	return page.Audit.Token(fmt.Sprintf("%d/%s/%s", e.GetTime().AsTime().UnixNano(), e.GetCoordinator(), e.GetPrevious()))
}

// pageStart is the entry that a page token stands for; nil without one.
func pageStart(token string) (*tandemv1.AuditEntry, error) {
	place, err := page.Audit.Place(token)
	if err != nil || place == "" {
		return nil, err
	}
	at, rest, _ := strings.Cut(place, "/")
	coordinator, previous, _ := strings.Cut(rest, "/")
	nanos, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("page_token: %q %w", token, page.ErrToken)
	}
	return &tandemv1.AuditEntry{Time: timestamppb.New(time.Unix(0, nanos)), Coordinator: coordinator, Previous: previous}, nil
}

// Newest are the newest of these entries, oldest first, as many as a request may have, and whether that leaves any out.
func Newest(req *tandemv1.ListAuditRequest, entries []*tandemv1.AuditEntry) (newest []*tandemv1.AuditEntry, more bool) {
	slices.SortStableFunc(entries, Older)
	n := len(entries) - Limit(req)
	if n <= 0 {
		return entries, false
	}
	return slices.Clone(entries[n:]), true
}

// List returns the newest entries that are on this disk and pass the filter, oldest first, the token for those before them, and the places
// where the chain of hashes is broken.
func (l *Log) List(req *tandemv1.ListAuditRequest) (*tandemv1.ListAuditResponse, error) {
	l.moving.RLock()
	defer l.moving.RUnlock()
	files, err := l.files()
	if err != nil {
		return nil, err
	}
	start, err := pageStart(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	res, previous, first, more := &tandemv1.ListAuditResponse{}, "", true, false
	for _, name := range files {
		number := 0
		err := scan(name, func(line []byte) bool {
			number++
			e := &tandemv1.AuditEntry{}
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(line, e); err != nil || !first && e.GetPrevious() != previous {
				if len(res.GetBroken()) < 100 {
					res.Broken = append(res.Broken, fmt.Sprintf("%s, line %d of %s", l.cfg.Coordinator, number, filepath.Base(name)))
				}
			}
			previous, first = hash(line), false
			if wanted(req, e) && (start == nil || Older(e, start) < 0) {
				res.Entries = append(res.Entries, e)
			}
			if len(res.GetEntries()) >= 2*Limit(req) {
				res.Entries, more = Newest(req, res.GetEntries())
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	newest, cut := Newest(req, res.GetEntries())
	if res.Entries = newest; more || cut {
		res.NextPageToken = PageToken(newest[0])
	}
	return res, nil
}

func wanted(req *tandemv1.ListAuditRequest, e *tandemv1.AuditEntry) bool {
	switch {
	case e.GetTime() == nil, req.GetSince() != nil && e.GetTime().AsTime().Before(req.GetSince().AsTime()):
		return false
	case req.GetActor() != "" && req.GetActor() != e.GetActor() && req.GetActor() != e.GetTokenId():
		return false
	case !strings.Contains(strings.ToLower(e.GetMethod()), strings.ToLower(req.GetMethod())):
		return false
	case req.GetOutcome() == "denied":
		return denied(e.GetOutcome())
	}
	return req.GetOutcome() == "" || req.GetOutcome() == e.GetOutcome()
}
