package main

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"tandem.dev/cmd/tandem/printable"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestTablesFitTheTerminal: no line is wider than the terminal, ids are whole, and a pipe and -o wide get all of it.
func TestTablesFitTheTerminal(t *testing.T) {
	const id, reason = "job-01m8nrd3aj8f7wq2r5c9k4t6xz", "Wants 2 slots, 1 of 3 in pool \"default\" are free: next in line."
	j := &tandemv1.Job{Id: id, Name: "digits", State: tandemv1.JobState_JOB_STATE_PENDING, Reason: reason, PublishedVersion: "digits@12", Spec: &tandemv1.JobSpec{Dataset: "digits@3"}}
	for _, columns := range []int{60, 70, 80, 100, 120, 200} {
		var b strings.Builder
		jobGrid([]*tandemv1.Job{j, {Id: id, Name: "x", State: tandemv1.JobState_JOB_STATE_PAUSED}}).write(&b, view{columns: columns})
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
				t.Errorf("%d columns: a line of %d: %s", columns, n, line)
			}
		}
		if !strings.Contains(b.String(), id) || !strings.Contains(b.String(), "digits") || !strings.Contains(b.String(), "pending") || !strings.Contains(b.String(), "Want") {
			t.Errorf("%d columns:\n%s", columns, b.String())
		}
		if all := strings.Contains(b.String(), "digits@12") && strings.Contains(b.String(), reason); all != (columns == 200) {
			t.Errorf("%d columns, all of it: %v\n%s", columns, all, b.String())
		}
		b.Reset()
		describeJob(&tandemv1.GetJobResponse{Job: j})[0].write(&b, view{columns: columns})
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
				t.Errorf("describe, %d columns: a line of %d: %s", columns, n, line)
			}
		}
		if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), reason) {
			t.Errorf("describe loses words:\n%s", b.String())
		}
	}
	// Where what is never left out takes nearly all, no text is better than a line too long.
	var b strings.Builder
	jobGrid([]*tandemv1.Job{{Id: id, Name: "hyperband-14", State: tandemv1.JobState_JOB_STATE_COMPLETED, Reason: reason}}).write(&b, view{columns: 60})
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 60 || strings.Contains(line, "W") {
			t.Errorf("60 columns: a line of %d: %s", n, line)
		}
	}
	for _, v := range []view{{}, {wide: true, columns: 60}} {
		var b strings.Builder
		jobGrid([]*tandemv1.Job{j}).write(&b, v)
		if !strings.Contains(b.String(), reason) || !strings.Contains(b.String(), "digits@12") || strings.Contains(b.String(), "…") {
			t.Errorf("%+v:\n%s", v, b.String())
		}
	}
}

// full fails as a disk without room does.
type full struct{ writes int }

func (f *full) Write([]byte) (int, error) {
	f.writes++
	return 0, errFull
}

var errFull = errors.New("no space left")

// TestWriteErrors: whatever a command writes and in whatever form, that it could not is its exit code, and is said once.
func TestWriteErrors(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{jobs: []*tandemv1.Job{{Id: "job-1"}}, logs: func(send func(*tandemv1.StreamLogsResponse) error) error {
		return errors.Join(send(&tandemv1.StreamLogsResponse{Line: "a"}), send(&tandemv1.StreamLogsResponse{Line: "b"}))
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	run := func(args ...string) {
		t.Helper()
		u.err.Reset()
		out := &full{}
		a := &app{in: strings.NewReader(""), out: out, err: &u.err, patience: u.patience, getenv: func(k string) string { return u.env[k] }}
		if code := a.execute(t.Context(), args); code == exitOK {
			t.Errorf("%v: exit code 0", args)
		}
		if n := strings.Count(u.err.String(), errFull.Error()); n != 1 || out.writes != 1 {
			t.Errorf("%v: said %d times after %d writes: %s", args, n, out.writes, u.err.String())
		}
	}
	many := make([]int64, 5000)
	f.metrics = &tandemv1.GetMetricsResponse{Series: []*tandemv1.Series{{Name: "loss", Steps: many, Seconds: make([]float64, 5000), Values: make([]float64, 5000)}}}
	run("metrics", "job-1", "-o", "csv")
	run("completion", "bash")
	for _, form := range []string{"table", "wide", "json", "yaml"} {
		for _, args := range [][]string{
			{"list"}, {"describe", "job-1"}, {"logs", "job-1"}, {"context", "list"}, {"version"}, {"checkpoint", "prune", "--dry-run"}, {"sweep", "--help"},
		} {
			run(append(args, "-o", form)...)
		}
	}
	var walk func(path []string)
	walk = func(path []string) {
		run(append(path, "--help")...)
		c, _, err := (&app{getenv: func(string) string { return "" }}).root().Find(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, sub := range c.Commands() {
			walk(append(path[:len(path):len(path)], sub.Name()))
		}
	}
	walk(nil)
}

// TestLastLines: --tail shows the last lines of all.
func TestLastLines(t *testing.T) {
	ca := newAuthority(t)
	f := &fake{logs: func(send func(*tandemv1.StreamLogsResponse) error) error {
		for _, line := range []string{"one", "two", "three", "four"} {
			if err := send(&tandemv1.StreamLogsResponse{Line: line}); err != nil {
				return err
			}
		}
		return nil
	}}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("logs", "job-1", "--tail", "2"), exitOK, "three", "four")
	if strings.Contains(u.out.String(), "two") || strings.Count(u.out.String(), "\n") != 2 {
		t.Errorf("%s", u.out.String())
	}
	u.want(u.run("logs", "job-1", "--tail", "9"), exitOK, "one", "four")
	u.want(u.run("logs", "job-1", "--tail", "2", "--follow"), exitUsage, "exclude each other")
}

// TestQuoted: what a shell would take for more than a word stands in quotes.
func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{
		"/x/data": "/x/data", "/x/moved (2) dir/cl 1": "'/x/moved (2) dir/cl 1'", "": "''", "it's": `'it'\''s'`, "ü": "ü", "~/x": "'~/x'", "$HOME": "'$HOME'", "a;b": "'a;b'",
	} {
		if got := printable.Quoted(word); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
}

// TestTokenWithoutEndpoint: a token in the environment is not passed over in favour of another one.
func TestTokenWithoutEndpoint(t *testing.T) {
	ca := newAuthority(t)
	u := newUser(t, ca.pem, ca.serve(t, &fake{}))
	u.env["TANDEM_TOKEN"] = "tdm_other"
	u.want(u.run("list"), exitUsage, "TANDEM_TOKEN is set but TANDEM_ENDPOINT is not")
	u.want(u.run("list", "--context", "test"), exitOK)
	delete(u.env, "TANDEM_TOKEN")
	u.env["TANDEM_ENDPOINT"] = "127.0.0.1:1"
	u.want(u.run("list"), exitUsage, "TANDEM_ENDPOINT is set but TANDEM_TOKEN is not")
}
