package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/memstore"
)

// TestDamagedFolder: whatever file of an agent's data folder is lost or damaged, it begins as the node it was, or it ends and says which file
// it is, what is wrong with it, and what to do. It becomes another node only where all its keys are gone and it is given a join token.
func TestDamagedFolder(t *testing.T) {
	c := newCluster(t)
	c.open("127.0.0.1:0")
	dir := t.TempDir()
	a := c.start(dir)
	c.want(task("wait", 1, 0))
	c.up("alloc-wait1/0")
	a.stop()
	must(t, os.WriteFile(filepath.Join(dir, "engines", "one.json"), []byte(`{"id":"alloc-old/0","generation":1,"pid":1}`), 0o600))
	const (
		again  = "and join again with a new token (tandem token create --join --role worker)"
		peers  = `: put back a copy of the file, or write {"coordinators": ["10.0.0.1:7070"], "gossip": ["10.0.0.1:7071"]} into it`
		begins = ""
		noPEM  = " is damaged: no certificate in PEM"
		noKey  = " is damaged: tls: failed to find any PEM data in key input"
	)
	for _, tc := range []struct {
		file                    string
		missing, empty, rubbish string // what it says; nothing: it begins
		remedy                  string
	}{
		{"pki/ca.pem", " is missing", noPEM, noPEM, again},
		{"pki/node.pem", " is missing", noPEM, noPEM, again},
		{"pki/node-key.pem", " is missing", noKey, noKey, again},
		{"pki/gossip.key", " is missing", " is damaged: no key", " is damaged: not 32 bytes in hexadecimal", again},
		{"pki/peers.json", " is missing", " is damaged: unexpected end of JSON input", " is damaged: invalid character 'r'", peers},
		{"incarnation", begins, begins, begins, ""},
		{"lock", begins, begins, begins, ""},
		{"engines/one.json", begins, begins, begins, ""},
	} {
		for how, says := range map[string]string{"missing": tc.missing, "empty": tc.empty, "rubbish": tc.rubbish} {
			t.Run(tc.file+" "+how, func(t *testing.T) {
				into := filepath.Join(t.TempDir(), "w")
				must(t, os.CopyFS(into, os.DirFS(dir)))
				must(t, os.RemoveAll(filepath.Join(into, "run"))) // a copy has not the modes of the first
				path := filepath.Join(into, tc.file)
				switch how {
				case "missing":
					must(t, os.Remove(path))
				case "empty":
					must(t, os.WriteFile(path, nil, 0o600))
				case "rubbish":
					must(t, os.WriteFile(path, []byte("rubbish"), 0o600))
				}
				if says == begins {
					c.start(into).stop()
				} else {
					cfg := testConfig(into)
					cfg.Join, cfg.JoinToken = c.members, c.token.String()
					a, err := New(cfg, Deps{Log: zerolog.Nop(), OpenStore: func(*tandemv1.StorageConfig) (storage.Store, error) { return memstore.New(memstore.Config{}), nil }})
					must(t, err)
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					err = a.Run(ctx)
					for _, want := range []string{path, says, tc.remedy} {
						if !strings.Contains(fmt.Sprint(err), want) {
							t.Errorf("%v does not say %q", err, want)
						}
					}
				}
				if c.joined != 1 {
					t.Fatal("it has joined as another node")
				}
			})
		}
	}
	must(t, os.RemoveAll(filepath.Join(dir, "pki")))
	c.start(dir).stop()
	if creds, err := identity.Load(filepath.Join(dir, "pki")); err != nil || creds.Identity.Node != "node-2" {
		t.Errorf("without any key and with a token: %v", err)
	}
}
