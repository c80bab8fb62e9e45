package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// JoinConfig says how a node joins.
type JoinConfig struct {
	Coordinators []string // host:port of API ports; tried in turn
	Token        string   // join token
	Role         Role     // role the node wants; must be the token's
	Hosts        []string // hosts and addresses clients reach a coordinator by
	// Key is the node's own, for an attempt that follows on another with an unknown outcome: the join token counts one node for
	// one key. Nil: a new one.
	Key *ecdsa.PrivateKey
}

// Joined is what a cluster gives to a node that joins.
type Joined struct {
	Credentials *Credentials
	CAKey       []byte // PKCS #8 DER; only for coordinators
	SealKey     []byte // 32 bytes; only for coordinators
}

// NewKey makes the key of a node.
func NewKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the node's key: %w", err)
	}
	return key, nil
}

// Join makes a key, has its certificate signed by the cluster that the token is bound to, and returns the credentials.
// The caller saves them. ErrPin means that the server is of another cluster, and a ClockError that its clock and this one differ.
func Join(ctx context.Context, cfg JoinConfig) (*Joined, error) {
	token, err := ParseJoinToken(cfg.Token)
	if err != nil {
		return nil, err
	}
	if token.Role != cfg.Role {
		return nil, fmt.Errorf("join token is for a %s, not for a %s: make one with \"tandem token create --join --role %s\"", token.Role, cfg.Role, cfg.Role)
	}
	key := cfg.Key
	if key == nil {
		if key, err = NewKey(); err != nil {
			return nil, err
		}
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "tandem node"}}, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	req := &tandemv1.JoinClusterRequest{Token: token.String(), Csr: csr, Hosts: cfg.Hosts}
	if len(cfg.Coordinators) == 0 {
		return nil, errors.New("join: no coordinator named: give the host:port of one")
	}
	var failed error
	for _, address := range cfg.Coordinators {
		res, err := ask(ctx, address, token, req)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("join %s: %w", address, err))
			continue
		}
		return accept(res, key, token)
	}
	return nil, failed
}

func ask(ctx context.Context, address string, token JoinToken, req *tandemv1.JoinClusterRequest) (*tandemv1.JoinClusterResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	trust := func(at time.Time) *tls.Config { return pinned(token.CAHash, at) }
	transport := Transport(trust(time.Time{}))
	defer transport.CloseIdleConnections()
	client := tandemv1connect.NewClusterServiceClient(&http.Client{Transport: speak(transport, trust)}, "https://"+address)
	res, err := client.JoinCluster(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

// accept checks what came back as if it came from a stranger.
func accept(res *tandemv1.JoinClusterResponse, key *ecdsa.PrivateKey, token JoinToken) (*Joined, error) {
	c := &Credentials{
		Key: key, Peers: Peers{Coordinators: res.GetCoordinators(), Gossip: res.GetGossip()},
	}
	keys := res.GetKeys()
	if keys == nil { // a coordinator of the release before
		keys = &tandemv1.Keys{Authorities: [][]byte{res.GetCaCertificate()}, GossipKeys: [][]byte{res.GetGossipKey()}}
	}
	pinned := false
	for _, der := range keys.GetAuthorities() {
		pinned = pinned || CAHash(der) == token.CAHash
	}
	if !pinned {
		return nil, ErrPin
	}
	leaf, err := c.Take(res.GetCertificate(), keys)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the certificate that was signed is not for this node's key")
	}
	opts := x509.VerifyOptions{Roots: c.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := leaf.Verify(opts); err != nil {
		return nil, fmt.Errorf("verify the node's certificate: %w", err)
	}
	want := Identity{Cluster: res.GetClusterId(), Role: token.Role, Node: res.GetNodeId()}
	if c.Identity, err = FromCertificate(leaf); err != nil || c.Identity != want {
		return nil, fmt.Errorf("the certificate that was signed names %v, not %v", c.Identity, want)
	}
	return &Joined{Credentials: c, CAKey: res.GetCaKey(), SealKey: res.GetSealKey()}, nil
}

// Take makes credentials of a certificate (DER; empty: that which they have) and the keys of the cluster. It changes c alone, and
// nothing when it fails.
func (c *Credentials) Take(certificate []byte, keys *tandemv1.Keys) (*x509.Certificate, error) {
	next := *c
	if len(certificate) == 0 {
		certificate = c.Chain[0]
	}
	leaf, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, fmt.Errorf("read the node's certificate: %w", err)
	}
	var trusted []*x509.Certificate
	for _, der := range keys.GetAuthorities() {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read a CA's certificate: %w", err)
		}
		trusted = append(trusted, ca)
	}
	if err := next.trust(leaf, trusted); err != nil {
		return nil, err
	}
	next.Chain = [][]byte{certificate, next.CA.Raw}
	for _, der := range keys.GetCross() {
		if cross, err := x509.ParseCertificate(der); err == nil && bytes.Equal(cross.RawSubjectPublicKeyInfo, next.CA.RawSubjectPublicKeyInfo) {
			next.Chain = append(next.Chain, der)
		}
	}
	for _, ca := range next.Also {
		next.Chain = append(next.Chain, ca.Raw) // for who has pinned it
	}
	next.GossipKey, next.GossipOld = nil, nil
	for i, key := range keys.GetGossipKeys() {
		switch {
		case len(key) != 32:
			return nil, fmt.Errorf("gossip key has %d bytes, not 32", len(key))
		case i == 0:
			next.GossipKey = key
		default:
			next.GossipOld = append(next.GossipOld, key)
		}
	}
	if next.GossipKey == nil {
		return nil, errors.New("the cluster has named no gossip key")
	}
	*c = next
	return leaf, nil
}
