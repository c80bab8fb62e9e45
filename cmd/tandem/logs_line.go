package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tandem.dev/cmd/tandem/printable"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// logLine writes one line of a log for people: when, where, how bad, what, and the facts. node is the name of the node;
// dated adds the day. A line that an engine did not log itself, such as what a library prints, stays as it is.
func logLine(m *tandemv1.StreamLogsResponse, node string, dated bool) string {
	form := "15:04:05.000"
	if dated {
		form = "2006-01-02T15:04:05.000Z07:00"
	}
	level, text := "", m.GetLine()
	if l, ok := parseLog(text); ok {
		level, text = l.level, l.String()
	}
	from := fmt.Sprintf("%s %s r%d.%d", m.GetTime().AsTime().In(time.Local).Format(form), node, m.GetRank(), m.GetGeneration())
	return printable.OneLine(fmt.Sprintf("%s %-5s %s", from, level, text))
}

// entry is a line that a program logged.
type entry struct {
	level, message string
	facts          map[string]json.RawMessage
}

// parseLog reads a line of zerolog.
func parseLog(line string) (entry, bool) {
	var e entry
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e.facts) != nil {
		return entry{}, false
	}
	if json.Unmarshal(e.facts["level"], &e.level) != nil || json.Unmarshal(e.facts["message"], &e.message) != nil {
		return entry{}, false
	}
	// The rest of these says where the line comes from, which stands before it.
	for _, known := range []string{"level", "message", "time", "engine", "gen", "job", "trial", "rank"} {
		delete(e.facts, known)
	}
	return e, true
}

// String is the message and its facts by name.
func (e entry) String() string {
	parts := []string{e.message}
	for _, name := range slices.Sorted(maps.Keys(e.facts)) {
		value := string(e.facts[name])
		var s string
		if json.Unmarshal(e.facts[name], &s) == nil && value != "null" {
			value = s
			if s == "" || strings.ContainsAny(s, " =\"\n\t") {
				value = fmt.Sprintf("%q", s)
			}
		}
		parts = append(parts, name+"="+value)
	}
	return strings.Join(parts, " ")
}
