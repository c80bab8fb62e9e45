package client

import (
	"strings"
	"testing"
)

// TestHomeCannotBeWritten: a context that cannot be kept is an error that names the file and the way out.
func TestHomeCannotBeWritten(t *testing.T) {
	path, err := Path(func(name string) string { return map[string]string{"HOME": "/proc/nothing"}[name] }) // nobody can make a folder there
	if err != nil {
		t.Fatal(err)
	}
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Put(Context{Name: "local", Endpoints: []string{"https://127.0.0.1:7070"}, Token: "tdm_x", CA: "x"})
	if err = f.Save(); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "TANDEM_CONFIG") {
		t.Errorf("%v", err)
	}
}
