package main

import (
	"strings"
	"testing"
)

// TestRequestID: a command that is run again with --request-id asks under the same names, in order; without it each name is new.
func TestRequestID(t *testing.T) {
	for range 2 {
		a := &app{requestID: "nightly-7"}
		if got := []string{a.newRequestID(), a.newRequestID(), a.newRequestID()}; got[0] != "nightly-7" || got[1] != "nightly-7/2" || got[2] != "nightly-7/3" {
			t.Errorf("%q", got)
		}
	}
	a := &app{}
	if first, second := a.newRequestID(), a.newRequestID(); first == second {
		t.Error("two requests have one name")
	}
	ca := newAuthority(t)
	f := &fake{}
	u := newUser(t, ca.pem, ca.serve(t, f))
	file := write(t, u.dir, "d.csv", "a,label\n"+strings.Repeat("1,x\n2,y\n", 10))
	u.want(u.run("dataset", "create", "small", "--from", file, "--label", "label", "--request-id", "nightly-8"), exitOK, "small@1")
	if f.created.GetRequestId() != "nightly-8" {
		t.Errorf("asked as %q", f.created.GetRequestId())
	}
}
