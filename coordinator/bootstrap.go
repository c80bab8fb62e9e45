package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem.dev/coordinator/id"
	"tandem.dev/coordinator/leader"
	"tandem.dev/coordinator/pki"
	"tandem.dev/proto/identity"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

const fileAdmin = "admin-token"

// bootstrap makes the identity of a new cluster and of its first coordinator. The credentials are written last: a crash
// before that leaves a folder on which the next start begins anew.
func bootstrap(cfg Config, address string, now time.Time) (*identity.Credentials, *pki.CA, error) {
	cluster := id.New("cluster")
	ca, err := pki.New(cluster, now)
	if err != nil {
		return nil, nil, err
	}
	gossipKey := make([]byte, 32)
	_, _ = rand.Read(gossipKey) // never fails: crypto/rand ends the process instead
	who := identity.Identity{Cluster: cluster, Role: identity.RoleCoordinator, Node: id.New("node")}
	creds, err := ca.Issue(who, cfg.hosts(address), gossipKey, now)
	if err != nil {
		return nil, nil, err
	}
	seal, err := pki.NewSeal(nil)
	if err != nil {
		return nil, nil, err
	}
	dir := cfg.pkiDir()
	if err := identity.WriteFile(dir, fileAdmin, []byte(identity.NewBearerToken()+"\n")); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(ca.Save(dir), seal.Save(dir), creds.Save(dir)); err != nil {
		return nil, nil, err
	}
	return creds, ca, nil
}

// open reads the identity of a coordinator, and signs its certificate anew when it should be, see pki.Stale.
func open(cfg Config, address string, now time.Time) (*identity.Credentials, *pki.CA, error) {
	creds, err := cfg.credentials()
	if err != nil {
		return nil, nil, err
	}
	if creds.Identity.Role != identity.RoleCoordinator {
		return nil, nil, fmt.Errorf("%s is the data folder of a %s, not of a coordinator", cfg.DataDir, creds.Identity.Role)
	}
	ca, err := pki.Load(cfg.pkiDir(), creds.Trusted()...)
	if err != nil {
		return nil, nil, err
	}
	leaf, err := creds.Leaf()
	if err != nil {
		return nil, nil, fmt.Errorf("read the coordinator's certificate: %w", err)
	}
	if now.Before(creds.CA.NotBefore) || now.After(creds.CA.NotAfter) {
		return nil, nil, fmt.Errorf("the clock of this machine says %s, but the CA of the cluster is valid from %s to %s: set the clock and start again", stamp(now), stamp(creds.CA.NotBefore), stamp(creds.CA.NotAfter))
	}
	if !pki.Stale(leaf, creds.Identity.Role, cfg.hosts(address), now) {
		return creds, ca, nil
	}
	der, err := ca.Sign(creds.Identity, creds.Key.Public(), cfg.hosts(address), now)
	if err != nil {
		return nil, nil, err
	}
	// The key stays, so that a crash between two files leaves what fits together.
	creds.CA, creds.Also = ca.Certificate, slices.DeleteFunc(creds.Trusted(), ca.Certificate.Equal)
	creds.Chain = append([][]byte{der, ca.Certificate.Raw}, creds.Chain[min(2, len(creds.Chain)):]...)
	return creds, ca, creds.Save(cfg.pkiDir())
}

// stamp writes a time for people who compare clocks.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// adminToken reads the first admin token; empty when this coordinator did not found the cluster.
func adminToken(cfg Config) (string, error) {
	b, err := os.ReadFile(filepath.Join(cfg.pkiDir(), fileAdmin))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the admin token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// bootstrap writes the first admin token and the cluster into the state, if they do not exist. The cluster comes last:
// where it is, the token was.
func (c *Coordinator) bootstrap() leader.Loop {
	return leader.Loop{Name: "bootstrap", Run: func(ctx context.Context) error {
		cluster, ok := c.state.View().Cluster()
		if !ok {
			if err := c.writeCluster(ctx); err != nil {
				return err
			}
		}
		if len(cluster.GetAuthorities()) == 0 {
			if err := c.writeKeys(ctx); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return nil
	}}
}

// writeKeys notes the keys with which the cluster was founded, so that they can be replaced.
func (c *Coordinator) writeKeys(ctx context.Context) error {
	change, err := pki.Adopted(c.ca.Load(), c.creds.Get().GossipKey, c.seal)
	if err != nil {
		return err
	}
	// A refusal says that they are noted.
	_, err = c.node.Propose(ctx, &tandemv1.Command{Actor: "the first start", Command: &tandemv1.Command_ChangeKeys{ChangeKeys: change}})
	if err != nil {
		return fmt.Errorf("note the keys of the cluster: %w", err)
	}
	return nil
}

func (c *Coordinator) writeCluster(ctx context.Context) error {
	if c.admin == "" || c.cfg.Storage == nil {
		return errors.New("the cluster is not written yet, and this coordinator did not found it")
	}
	cluster := c.creds.Identity.Cluster
	for _, cmd := range []*tandemv1.Command{
		{RequestId: "admin of " + cluster, Command: &tandemv1.Command_PutToken{PutToken: &tandemv1.PutToken{Token: &tandemv1.Token{
			Id: id.New("token"), Name: "admin", Role: "admin", Sha256: identity.HashToken(c.admin),
		}}}},
		{Command: &tandemv1.Command_CreateCluster{CreateCluster: &tandemv1.CreateCluster{Cluster: &tandemv1.Cluster{Id: cluster, Storage: pki.CloseStorage(c.cfg.Storage, c.seal)}}}},
	} {
		cmd.Actor = "the first start"
		res, err := c.node.Propose(ctx, cmd)
		if err != nil {
			return fmt.Errorf("write the new cluster: %w", err)
		}
		if res.GetRefusal() != 0 {
			return fmt.Errorf("write the new cluster: %s", say.Clause(res.GetWhy(), say.Plain))
		}
	}
	c.log.Info().Str("cluster", cluster).Msg("cluster created")
	return nil
}
