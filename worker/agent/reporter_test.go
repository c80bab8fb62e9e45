package agent

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestRefusalLevels: that a generation is over is no warning; both end their engine.
func TestRefusalLevels(t *testing.T) {
	var log strings.Builder
	var fenced []string
	r := &reporter{log: zerolog.New(&log), metrics: newMetrics("test"), fence: func(id string) { fenced = append(fenced, id) }}
	r.handleAnswers([]*tandemv1.EngineReport{{EngineId: "taken"}, {EngineId: "over"}, {EngineId: "bad"}},
		&tandemv1.ReportResponse{Refusals: []string{"", "the generation is over", "says nothing"}, Over: []bool{false, true, false}})
	if strings.Join(fenced, " ") != "over bad" {
		t.Errorf("fenced %v", fenced)
	}
	for line := range strings.Lines(log.String()) {
		if want := map[bool]string{true: `"level":"info"`, false: `"level":"warn"`}[strings.Contains(line, `"over"`)]; !strings.Contains(line, want) {
			t.Errorf("%s, want %s", line, want)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines", n)
	}
}
