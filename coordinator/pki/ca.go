package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"time"

	"tandem.dev/proto/identity"
)

const (
	fileCAKey = "ca-key.pem"

	caLife   = 10 * 365 * 24 * time.Hour
	nodeLife = 5 * 365 * 24 * time.Hour
	// Backdated is how long before it was made a certificate is valid, for clocks of machines differ.
	Backdated = time.Hour
)

// CA signs certificates of nodes.
type CA struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// New makes the CA of a cluster.
func New(cluster string, now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the CA's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Tandem CA of " + cluster + ", " + now.UTC().Format(time.DateTime)},
		NotBefore:             now.Add(-Backdated),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1, // the CA that follows on it, see Cross
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the CA's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the CA's certificate: %w", err)
	}
	return &CA{Certificate: cert, key: key}, nil
}

// From is the CA whose key (PKCS #8 DER) a coordinator was given when it joined.
func From(cert *x509.Certificate, keyDER []byte) (*CA, error) {
	k, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("read the CA's key: %w", err)
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the CA's key does not belong to the CA's certificate")
	}
	return &CA{Certificate: cert, key: key}, nil
}

// Load reads the CA's key from a coordinator's pki folder. It belongs to one of the certificates.
func Load(dir string, certs ...*x509.Certificate) (*CA, error) {
	path := filepath.Join(dir, fileCAKey)
	b, err := identity.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the CA's key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, &identity.Damaged{Path: path, Err: errors.New("it has no PEM block")}
	}
	err = errors.New("no CA is trusted")
	for _, cert := range certs {
		var ca *CA
		if ca, err = From(cert, block.Bytes); err == nil {
			return ca, nil
		}
	}
	return nil, &identity.Damaged{Path: path, Err: err}
}

// Save writes the CA's key (mode 0600); the certificate is saved with the node's credentials.
func (ca *CA) Save(dir string) error {
	der, err := ca.KeyDER()
	if err != nil {
		return err
	}
	return identity.WriteFile(dir, fileCAKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// KeyDER is the CA's key, PKCS #8; only another coordinator may get it.
func (ca *CA) KeyDER() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, fmt.Errorf("encode the CA's key: %w", err)
	}
	return der, nil
}

// Sign signs the certificate (DER) of a node for a public key. Hosts are the names and addresses that clients which are
// not nodes verify; only a coordinator gets them, see names.
func (ca *CA) Sign(node identity.Identity, public crypto.PublicKey, hosts []string, now time.Time) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: node.Node},
		NotBefore:    now.Add(-Backdated),
		NotAfter:     now.Add(nodeLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     node.DNSNames(),
	}
	template.URIs = append(template.URIs, node.URI())
	for _, h := range names(node.Role, hosts) {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Certificate, public, ca.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", node.Node, err)
	}
	return der, nil
}

// CheckRequest returns the key of a certificate request (DER), which its sender has proved to hold. Nothing else of the
// request is believed.
func CheckRequest(csrDER []byte) (crypto.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("read the certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check the certificate request: %w", err)
	}
	return csr.PublicKey, nil
}

// Cross signs the key of the CA that follows on this one: who trusts only this one accepts what that one signs. It is of use with a
// CA that New made; those of the time before may have no other under them.
func (ca *CA) Cross(next *x509.Certificate) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := *next
	template.SerialNumber = serial
	template.MaxPathLen, template.MaxPathLenZero = 0, true
	if template.NotAfter.After(ca.Certificate.NotAfter) {
		template.NotAfter = ca.Certificate.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.Certificate, next.PublicKey, ca.key)
	if err != nil {
		return nil, fmt.Errorf("sign the next CA's certificate: %w", err)
	}
	return der, nil
}

// Issue makes a key and signs it: the credentials of the coordinator that holds the CA.
func (ca *CA) Issue(node identity.Identity, hosts []string, gossipKey []byte, now time.Time) (*identity.Credentials, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	der, err := ca.Sign(node, key.Public(), hosts, now)
	if err != nil {
		return nil, err
	}
	return &identity.Credentials{
		Identity: node, CA: ca.Certificate, Chain: [][]byte{der, ca.Certificate.Raw}, Key: key, GossipKey: gossipKey,
	}, nil
}

// Stale tells whether a node's certificate should be signed anew: two thirds of its life are over; it is not valid yet, since
// it was signed when a clock was ahead; or it does not carry exactly the names that a node of its role with these hosts gets.
func Stale(leaf *x509.Certificate, role identity.Role, hosts []string, now time.Time) bool {
	if now.Before(leaf.NotBefore) || !now.Before(Due(leaf)) {
		return true
	}
	want := names(role, hosts)
	if len(want) == 0 { // a certificate of an earlier release may carry names that clients dial
		return len(leaf.IPAddresses) > 0 || slices.ContainsFunc(leaf.DNSNames, func(h string) bool { return !identity.Reserved(h) })
	}
	return slices.ContainsFunc(want, func(h string) bool { return leaf.VerifyHostname(h) != nil })
}

// Due is when a certificate should be signed anew: when two thirds of its life are over.
func Due(leaf *x509.Certificate) time.Time {
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 3 * 2)
}

// names are those that clients dial. A coordinator has its hosts, and loopback, so that a port forwarded to a user's machine
// works. Nobody but nodes dials a worker, and they verify it by its names in the cluster: with a name of a host, a stolen
// worker's key would pass for a coordinator there with every client that knows only the CA.
func names(role identity.Role, hosts []string) []string {
	if role != identity.RoleCoordinator {
		return nil
	}
	return AllHosts(hosts)
}

// AllHosts adds loopback to hosts and removes what is empty, a wildcard, or there twice.
func AllHosts(hosts []string) []string {
	all := []string{"localhost", "127.0.0.1", "::1"}
	for _, h := range hosts {
		if ip := net.ParseIP(h); h == "" || (ip != nil && ip.IsUnspecified()) || slices.Contains(all, h) {
			continue
		}
		all = append(all, h)
	}
	return all
}

func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return n, nil
}
