package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// tokens are those of clients and of nodes that join, whoever has made them.
var tokens = regexp.MustCompile(`tdm_[A-Za-z0-9_-]{16,}|tdmjoin\.[a-z]+\.[A-Za-z0-9_-]{16,}`)

// secrets are the keys that lie in the folder of a cluster, and those that a test has given it, by name, in all forms that they could have
// in an environment or an argument.
func (c *cluster) secrets(given ...string) map[string][][]byte {
	c.t.Helper()
	all := map[string][][]byte{}
	add := func(name string, secret []byte) {
		all[name] = append(all[name], secret, []byte(hex.EncodeToString(secret)), []byte(base64.StdEncoding.EncodeToString(secret)))
	}
	for _, g := range given {
		add("a secret of the test", []byte(g))
	}
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // engines come and go
			}
			return err
		}
		switch filepath.Base(path) {
		case "gossip.key", "seal.key", "admin-token", "node-key.pem", "ca-key.pem":
		default:
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		if block, _ := pem.Decode(content); block != nil {
			add(name, block.Bytes)
			return nil
		}
		for _, line := range strings.Fields(string(content)) { // the form that it has there, and, where that is hexadecimal, its bytes
			all[name] = append(all[name], []byte(line))
			if raw, err := hex.DecodeString(line); err == nil {
				add(name, raw)
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

// showing names the secrets that others can read of a process for as long as it runs: in its environment or its arguments.
func showing(pid int, secrets map[string][][]byte) (found []string) {
	for _, file := range []string{"environ", "cmdline"} {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
		if err != nil {
			continue // it has ended, or nobody but root may read it
		}
		for name, forms := range secrets {
			for _, form := range forms {
				if bytes.Contains(text, form) {
					found = append(found, name+" in "+file)
				}
			}
		}
		if token := tokens.Find(text); token != nil {
			found = append(found, "the token "+string(token[:12])+"... in "+file)
		}
	}
	return found
}

// hidesSecrets checks that no process of the cluster shows a secret. Kinds are those that have to be among them: arguments of tandem, or
// the name of the program.
func (c *cluster) hidesSecrets(secrets map[string][][]byte, kinds ...string) {
	c.t.Helper()
	for _, name := range []string{"gossip.key", "seal.key", "admin-token", "node-key.pem", "ca-key.pem"} {
		if len(secrets[name]) == 0 {
			c.t.Fatalf("no %s is known to look for", name)
		}
	}
	seen := map[string]int{}
	for _, pid := range mentioning(c.dir) {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err != nil || len(line) == 0 {
			continue // it has ended
		}
		args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		kind := filepath.Base(args[0])
		if kind == filepath.Base(programs.tandem) && len(args) > 1 {
			kind = args[1]
		}
		if environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ")); err == nil && len(environ) > 0 || os.Geteuid() != 0 {
			seen[kind]++
		}
		for _, found := range showing(pid, secrets) {
			c.t.Errorf("%s (process %d) shows %s", kind, pid, found)
		}
	}
	for _, kind := range kinds {
		if seen[kind] == 0 {
			c.t.Errorf("no process %s was looked at: %v", kind, seen)
		}
	}
}

// TestSecretsAreFound: what hidesSecrets rests on finds secrets where there are some.
func TestSecretsAreFound(t *testing.T) {
	key := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	secrets := map[string][][]byte{"key": {key, []byte(hex.EncodeToString(key)), []byte(base64.StdEncoding.EncodeToString(key))}}
	for _, tc := range []struct{ env, arg, want string }{
		{"X=" + hex.EncodeToString(key), "", "key in environ"},
		{"X=" + base64.StdEncoding.EncodeToString(key), "", "key in environ"},
		{"X=tdm_" + strings.Repeat("aB3-", 10), "", "the token tdm_aB3-aB3-... in environ"},
		{"X=1", "tdmjoin.worker." + strings.Repeat("a", 43) + "." + strings.Repeat("0f", 32), "the token tdmjoin.work... in cmdline"},
		{"X=1", "harmless", ""},
	} {
		cmd := exec.Command("sh", "-c", "echo ready; read wait", "sh", tc.arg)
		cmd.Env = append(cmd.Env, tc.env)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it is the shell by now
			t.Fatal(err)
		}
		found := showing(cmd.Process.Pid, secrets)
		if got := strings.Join(found, ", "); got != tc.want {
			t.Errorf("%s %s: found %q, want %q", tc.env, tc.arg, got, tc.want)
		}
		_ = in.Close()
		_ = cmd.Wait() // that nothing came to read is no matter
	}
}

// upStoreSecret is the secret key that "tandem up" has made for its store.
func (c *cluster) upStoreSecret(data string) string {
	c.t.Helper()
	var settings struct {
		Secret string `json:"secret_key"`
	}
	content, err := os.ReadFile(filepath.Join(data, "up.json"))
	if err == nil {
		err = json.Unmarshal(content, &settings)
	}
	if err != nil || settings.Secret == "" {
		c.t.Fatalf("the settings of up: %v", err)
	}
	return settings.Secret
}
