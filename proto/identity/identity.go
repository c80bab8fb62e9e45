package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Role is what a node may do in the cluster.
type Role string

// The roles of nodes.
const (
	RoleCoordinator Role = "coordinator"
	RoleWorker      Role = "worker"
)

// Valid tells whether r is a role there is.
func (r Role) Valid() bool { return r == RoleCoordinator || r == RoleWorker }

// ErrRemoved means that a node was removed from its cluster: each start on its data folder ends so.
var ErrRemoved = errors.New("the cluster keeps this node out")

// ErrNotNode means that a certificate is not that of a node.
var ErrNotNode = errors.New("certificate does not name a node of Tandem")

const domain = ".tandem.internal"

// Identity names a node.
type Identity struct {
	Cluster string // "cluster-..."
	Role    Role
	Node    string // "node-..."
}

// URI is the name in the node's certificate: tandem://<cluster>/<role>/<node>.
func (id Identity) URI() *url.URL {
	return &url.URL{Scheme: "tandem", Host: id.Cluster, Path: "/" + string(id.Role) + "/" + id.Node}
}

// DNSNames are the names by which other nodes verify it.
func (id Identity) DNSNames() []string {
	return []string{RoleName(id.Role), NodeName(id.Node)}
}

// RoleName is the DNS name that every node of a role has in its certificate.
func RoleName(r Role) string { return string(r) + domain }

// NodeName is the DNS name that only this node has in its certificate.
func NodeName(node string) string { return node + domain }

// ParseURI reads what URI wrote.
func ParseURI(u *url.URL) (Identity, error) {
	parts := strings.Split(u.Path, "/")
	if u.Scheme != "tandem" || u.Host == "" || len(parts) != 3 || parts[0] != "" || parts[2] == "" || !Role(parts[1]).Valid() {
		return Identity{}, fmt.Errorf("read %q: %w", u, ErrNotNode)
	}
	return Identity{Cluster: u.Host, Role: Role(parts[1]), Node: parts[2]}, nil
}

// FromCertificate reads the identity of a node from its certificate, which must have been verified.
func FromCertificate(c *x509.Certificate) (Identity, error) {
	if len(c.URIs) != 1 {
		return Identity{}, ErrNotNode
	}
	return ParseURI(c.URIs[0])
}

// Peer is the identity that the other side of a connection has proved; false when it gave no certificate.
func Peer(s *tls.ConnectionState) (Identity, bool) {
	if s == nil || len(s.VerifiedChains) == 0 || len(s.VerifiedChains[0]) == 0 {
		return Identity{}, false
	}
	id, err := FromCertificate(s.VerifiedChains[0][0])
	return id, err == nil
}

// Reserved tells whether a host name is one of those by which nodes verify each other; no node may ask for one.
func Reserved(host string) bool {
	return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), domain)
}
