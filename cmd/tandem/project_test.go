package main

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/proto/identity"
)

// TestProjectOfACommand: the flag, else the environment, else the context says where a command works; nothing: the token.
func TestProjectOfACommand(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	f := &fake{rest: func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, strings.Join(r.Header.Values(identity.ProjectHeader), " "))
		mu.Unlock()
		_, _ = w.Write([]byte("{}"))
	}}
	ca := newAuthority(t)
	u := newUser(t, ca.pem, ca.serve(t, f))
	api := []string{"api", "get", "/v1/projects"}
	u.want(u.run(api...), exitOK)
	file, err := client.Load(u.env["TANDEM_CONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.Get("")
	if err != nil {
		t.Fatal(err)
	}
	c.Project = "of-context"
	file.Put(c)
	if err := file.Save(); err != nil {
		t.Fatal(err)
	}
	u.want(u.run(api...), exitOK)
	u.env["TANDEM_PROJECT"] = "of-environment"
	u.want(u.run(api...), exitOK)
	u.want(u.run(append(api, "--project", "of-flag")...), exitOK)
	if want := []string{"", "of-context", "of-environment", "of-flag"}; !slices.Equal(asked, want) {
		t.Errorf("asked in %q, want %q", asked, want)
	}
}
