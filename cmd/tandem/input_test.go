package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// zeros is standard input without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestFilesThatAreNone: whatever file a command is given, it ends at once with an error that says what is wrong with it.
func TestFilesThatAreNone(t *testing.T) {
	u := newUser(t, "", "127.0.0.1:1")
	pipe, large := filepath.Join(u.dir, "pipe"), filepath.Join(u.dir, "large")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 1<<40); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{u.dir: "is a folder", pipe: "nobody writes to", "/dev/zero": "is a device", large: "is too large"}
	for _, command := range []string{
		"submit --dry-run -f", "api JobService/ListJobs --data @", "context add other --endpoint h:1 --token-file", "context add other --endpoint h:1 --ca-file",
	} {
		for path, want := range files {
			args := strings.Fields(command + " " + path)
			if strings.HasSuffix(command, "@") {
				args = strings.Fields(command + path)
			}
			u.want(u.run(args...), exitUsage, path, want)
		}
	}
	for path, want := range files {
		args := []string{"dataset", "create", "d", "--label", "y", "--from", path}
		if path != large && path != pipe { // which are looked at as they are read, after the cluster was asked
			u.want(u.run(args...), exitUsage, path, want)
		}
		u.env["TANDEM_ENDPOINT"], u.env["TANDEM_TOKEN"], u.env["TANDEM_CA"] = "127.0.0.1:1", "t", path
		u.want(u.run("list"), exitError, "TANDEM_CA", path, want)
		delete(u.env, "TANDEM_ENDPOINT")
		delete(u.env, "TANDEM_TOKEN")
	}
	u.env["TANDEM_CONFIG"] = large
	u.want(u.run("list"), exitError, large, "is too large")
	u.env["TANDEM_CONFIG"] = pipe
	u.want(u.run("list"), exitError, pipe, "nobody writes to")
}

// TestStandardInputWithoutAnEnd: no more is read of it than a spec, or the data of a call, may have.
func TestStandardInputWithoutAnEnd(t *testing.T) {
	for _, args := range []string{"submit --dry-run -f -", "api JobService/ListJobs --data @-"} {
		u := newUser(t, "", "127.0.0.1:1")
		a := &app{in: zeros{}, out: &u.out, err: &u.err, patience: u.patience, getenv: func(k string) string { return u.env[k] }}
		u.want(a.execute(t.Context(), strings.Fields(args)), exitUsage, "standard input is too large")
	}
}

// TestAnswersWithoutAnEnd: of an error no more is read than a person would, and an answer that does not end is an error too.
func TestAnswersWithoutAnEnd(t *testing.T) {
	ca := newAuthority(t)
	sent := make(chan int64, 1)
	f := &fake{rest: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		n, _ := io.Copy(w, io.LimitReader(zeros{}, 1<<30))
		sent <- n
	})}
	u := newUser(t, ca.pem, ca.serve(t, f))
	u.want(u.run("api", "/v1/jobs"), exitUsage, "400 Bad Request")
	if n := <-sent; n > 64<<20 {
		t.Errorf("%d bytes of an error were taken", n)
	}
}
