package agent

import (
	"strings"
	"testing"

	"tandem.dev/proto/limit"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestLongWordsOfAnEngine: coordinators refuse a call with a report that is too long, and it would hold up all after it.
func TestLongWordsOfAnEngine(t *testing.T) {
	q := newReportQueue(2)
	long := strings.Repeat("x", 1<<20)
	must(t, q.push(t.Context(), &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: long}}}))
	q.pushNow(&tandemv1.EngineReport{Report: &tandemv1.EngineReport_Note{Note: &tandemv1.EngineNote{Message: long}}})
	batch, err := q.peek(t.Context(), 2)
	must(t, err)
	if err := limit.Check(&tandemv1.ReportRequest{Reports: batch}); err != nil || len(batch) != 2 {
		t.Errorf("%d reports: %v", len(batch), err)
	}
}
