package coordinator

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
)

func noStore(*tandemv1.StorageConfig) (storage.Store, error) { return newStore(), nil }

// TestDamagedFolder: whatever file of a coordinator's data folder is lost or damaged, it begins as it was, or it ends and says which file it
// is, what is wrong with it, and what to do. It never becomes another coordinator, of another cluster, or one that has forgotten its log.
func TestDamagedFolder(t *testing.T) {
	r := start(t, testConfig(filepath.Join(t.TempDir(), "c")), newStore())
	cluster, admin := r.creds.Identity, r.AdminToken()
	r.stop()
	if err := os.WriteFile(filepath.Join(r.cfg.auditDir(), "audit-00000000000000000001.jsonl"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		shared  = ": copy the file from the pki folder of another coordinator, which has the same, or put back a copy of this one"
		peers   = `: put back a copy of the file, or write {"coordinators": ["10.0.0.1:7070"], "gossip": ["10.0.0.1:7071"]} into it`
		own     = `: put back a copy of the file; without one, if other coordinators are up, take this one out with "tandem cluster remove-peer NODE"`
		log     = "if other coordinators are up, take this one out"
		begins  = ""
		noPEM   = " is damaged: no certificate in PEM"
		noBlock = " is damaged: it has no PEM block"
		noKey   = " is damaged: tls: failed to find any PEM data in key input"
		not32   = " is damaged: not 32 bytes in hexadecimal"
		noLog   = "it is empty, and this coordinator has had one"
	)
	for _, tc := range []struct {
		file                    string
		missing, empty, rubbish string // what it says; nothing: it begins
		remedy                  string
	}{
		{"pki/ca.pem", " is missing", noPEM, noPEM, shared},
		{"pki/ca-key.pem", " is missing", noBlock, noBlock, shared},
		{"pki/seal.key", " is missing", not32, not32, shared},
		{"pki/gossip.key", " is missing", " is damaged: no key", not32, shared},
		{"pki/peers.json", " is missing", " is damaged: unexpected end of JSON input", " is damaged: invalid character 'r'", peers},
		{"pki/node.pem", " is missing", noPEM, noPEM, own},
		{"pki/node-key.pem", " is missing", noKey, noKey, own},
		{"pki/admin-token", begins, begins, begins, ""},
		{"pki/member", begins, begins, begins, ""},
		{"audit/*", begins, begins, begins, ""},
		{"raft/raft.db", noLog, noLog, "invalid database", log},
		{"raft", noLog, "", "", log},
		{"pki", "pki/node.pem is missing", "", "", own},
	} {
		for how, says := range map[string]string{"missing": tc.missing, "empty": tc.empty, "rubbish": tc.rubbish} {
			if !strings.ContainsAny(tc.file, "/") && how != "missing" {
				continue
			}
			t.Run(tc.file+" "+how, func(t *testing.T) {
				cfg := testConfig(filepath.Join(t.TempDir(), "c"))
				if err := os.CopyFS(cfg.DataDir, os.DirFS(r.cfg.DataDir)); err != nil {
					t.Fatal(err)
				}
				paths, err := filepath.Glob(filepath.Join(cfg.DataDir, tc.file))
				if err != nil || len(paths) != 1 {
					t.Fatal(paths, err)
				}
				switch how {
				case "missing":
					err = os.RemoveAll(paths[0])
				case "empty":
					err = os.WriteFile(paths[0], nil, 0o600)
				case "rubbish":
					err = os.WriteFile(paths[0], bytes.Repeat([]byte("rubbish "), 20_000), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				if says == begins {
					c := start(t, cfg, newStore())
					if c.creds.Identity != cluster {
						t.Errorf("it is %v", c.creds.Identity)
					}
					if _, ok := c.state.View().Cluster(); !ok || len(c.state.View().AllTokens()) == 0 {
						t.Error("it has forgotten its cluster")
					}
					return
				}
				_, err = New(cfg, Deps{Log: zerolog.Nop(), OpenStore: noStore, Fatal: func(err error) { t.Error(err) }})
				for _, want := range []string{paths[0], says, tc.remedy} {
					if !strings.Contains(fmt.Sprint(err), want) {
						t.Errorf("%v does not say %q", err, want)
					}
				}
				if after, err := adminToken(cfg); tc.file != "pki" && (err != nil || after != admin) {
					t.Errorf("the folder was changed: %q, %v", after, err)
				}
			})
		}
	}
}
