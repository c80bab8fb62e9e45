package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"

	"tandem.dev/cmd/tandem/printable"
)

func TestLogLine(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.Local)
	for line, want := range map[string]string{
		`{"level":"info","engine":"alloc-1/0","gen":2,"rank":3,"job":"job-1","trial":"trial-1","rows":10,"ok":true,"why":null,"dir":"a b","time":"x","message":"loaded"}`: `info  loaded dir="a b" ok=true rows=10 why=null`,
		`{"level":"info","message":"a` + "\x1b" + `"}`: `      {"level":"info","message":"a\x1b"}`, // not valid JSON
		`{"level":"info","message":"a\u001b[2J\nb"}`:   `info  a\x1b[2J b`,
		`{"loss": 1}`: `      {"loss": 1}`,
		`{"level":1}`: `      {"level":1}`,
		"{":           "      {",
		"50%\r100%":   `      50%\x0d100%`,
		"":            "",
	} {
		m := &tandemv1.StreamLogsResponse{Time: timestamppb.New(at), Rank: 3, Generation: 2, Line: line}
		if got := strings.TrimRight(logLine(m, "n", false), " "); got != strings.TrimRight("03:04:05.006 n r3.2 "+want, " ") {
			t.Errorf("%s: %q", line, got)
		}
		if got := logLine(m, "n", true); !strings.HasPrefix(got, "2026-01-02T03:04:05.006") {
			t.Errorf("dated: %q", got)
		}
	}
}

func FuzzParseLog(f *testing.F) {
	for _, s := range []string{`{"level":"info","message":"a","step":3}`, `{"level":null}`, `{"message":"","level":"","x":{}}`, "{", "", "[]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got := logLine(&tandemv1.StreamLogsResponse{Line: line}, "n", false)
		if strings.ContainsFunc(got, printable.Steers) || strings.Contains(got, "\n") {
			t.Errorf("%q: %q", line, got)
		}
	})
}
