package audit

import (
	"fmt"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

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

// List returns the newest entries that are on this disk and pass the filter, oldest first, and the places where the chain of hashes is
// broken.
func (l *Log) List(req *tandemv1.ListAuditRequest) (entries []*tandemv1.AuditEntry, broken []string, err error) {
	l.moving.RLock()
	defer l.moving.RUnlock()
	files, err := l.files()
	if err != nil {
		return nil, nil, err
	}
	limit, previous, first := Limit(req), "", true
	for _, name := range files {
		number := 0
		err := scan(name, func(line []byte) bool {
			number++
			e := &tandemv1.AuditEntry{}
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(line, e); err != nil || !first && e.GetPrevious() != previous {
				if len(broken) < 100 {
					broken = append(broken, fmt.Sprintf("%s, line %d of %s", l.cfg.Coordinator, number, filepath.Base(name)))
				}
			}
			previous, first = hash(line), false
			if wanted(req, e) {
				entries = append(entries, e)
			}
			if len(entries) >= 2*limit {
				entries = append([]*tandemv1.AuditEntry(nil), entries[len(entries)-limit:]...)
			}
			return true
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return entries[max(0, len(entries)-limit):], broken, nil
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
