package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tandem.dev/cmd/tandem/input"
)

// TestSecretSources: a file that is named comes before a variable, and a variable before what systemd hands over.
func TestSecretSources(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "mine", "of the file\n")
	credentials := filepath.Join(dir, "credentials")
	if err := os.MkdirAll(filepath.Join(credentials, "store-secret-key"), 0o700); err != nil { // a folder cannot be read as a secret
		t.Fatal(err)
	}
	write(t, credentials, "join-token", "of systemd\n")
	for name, tc := range map[string]struct {
		file, variable string
		env            map[string]string
		want, fails    string
	}{
		"file":             {file, "TANDEM_JOIN_TOKEN", map[string]string{"TANDEM_JOIN_TOKEN": "of the variable", "CREDENTIALS_DIRECTORY": credentials}, "of the file", ""},
		"variable":         {"", "TANDEM_JOIN_TOKEN", map[string]string{"TANDEM_JOIN_TOKEN": "of the variable", "CREDENTIALS_DIRECTORY": credentials}, "of the variable", ""},
		"credential":       {"", "TANDEM_JOIN_TOKEN", map[string]string{"CREDENTIALS_DIRECTORY": credentials}, "of systemd", ""},
		"not handed over":  {"", "TANDEM_STORAGE_SECRET_KEY", map[string]string{"CREDENTIALS_DIRECTORY": credentials}, "", ""},
		"token of clients": {"", "TANDEM_TOKEN", map[string]string{"CREDENTIALS_DIRECTORY": credentials}, "", ""},
		"nothing":          {"", "TANDEM_JOIN_TOKEN", nil, "", ""},
		"cannot be read":   {"", "TANDEM_STORE_SECRET_KEY", map[string]string{"CREDENTIALS_DIRECTORY": credentials}, "", "read secret"},
		"without an end":   {"/dev/zero", "TANDEM_JOIN_TOKEN", nil, "", "/dev/zero is a device, not a file"},
		"as large as can":  {write(t, dir, "large", strings.Repeat("k", input.Secrets)), "TANDEM_JOIN_TOKEN", nil, strings.Repeat("k", input.Secrets), ""},
		"file is missing":  {filepath.Join(dir, "none"), "TANDEM_JOIN_TOKEN", nil, "", "read secret"},
	} {
		a := &app{getenv: func(name string) string { return tc.env[name] }}
		got, err := a.secret(tc.file, tc.variable)
		if got != tc.want || (err != nil) != (tc.fails != "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestSplitEnvironment: each variable that holds a secret, with or without one, leaves the environment of a program that goes on running.
func TestSplitEnvironment(t *testing.T) {
	all := []string{"HOME=/root", "TANDEM_JOIN_TOKEN=a=b", "TANDEM_CONFIG=/x", "TANDEM_STORAGE_SECRET_KEY=s", "TANDEM_STORE_SECRET_KEY=", "TANDEM_TOKEN=t"}
	secrets, rest := splitEnvironment(all)
	if diff := cmp.Diff(map[string]string{"TANDEM_JOIN_TOKEN": "a=b", "TANDEM_STORAGE_SECRET_KEY": "s", "TANDEM_TOKEN": "t"}, secrets); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(rest, []string{"HOME=/root", "TANDEM_CONFIG=/x", "TANDEM_STORE_SECRET_KEY="}) {
		t.Errorf("%q is left", rest)
	}
}
