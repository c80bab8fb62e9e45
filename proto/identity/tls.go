package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Pool holds the CAs of the cluster alone.
func (c *Credentials) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	for _, ca := range c.Trusted() {
		p.AddCert(ca)
	}
	return p
}

// Certificate is the node's chain and key.
func (c *Credentials) Certificate() tls.Certificate {
	return tls.Certificate{Certificate: c.Chain, PrivateKey: c.Key}
}

// ClientConfig dials a node that must prove to be verifyName: RoleName(role), or NodeName(node) for one node alone.
func (c *Credentials) ClientConfig(verifyName string, alpn ...string) *tls.Config {
	certificate := c.Certificate()
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		// Whichever CAs the server names: one that does not trust this node's is to say so, not to take the node for a stranger.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
		RootCAs:              c.Pool(),
		ServerName:           verifyName,
		NextProtos:           alpn,
	}
}

// ServerConfig serves nodes and, when optional is set, clients that have no certificate and prove themselves otherwise.
// A certificate that is given must be of the cluster.
func (c *Credentials) ServerConfig(optional bool, alpn ...string) *tls.Config {
	auth := tls.RequireAndVerifyClientCert
	if optional {
		auth = tls.VerifyClientCertIfGiven
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12, // browsers and curl of old machines
		Certificates: []tls.Certificate{c.Certificate()},
		ClientCAs:    c.Pool(),
		ClientAuth:   auth,
		NextProtos:   alpn,
		// A session that is resumed would keep a certificate alive that is not trusted any more.
		SessionTicketsDisabled: true,
	}
}

// HTTPClient is Live.HTTPClient for credentials that do not change.
func (c *Credentials) HTTPClient(verifyName string) *http.Client {
	return NewLive("", c).HTTPClient(verifyName)
}

// CoordinatorsHeader is on what a coordinator answers those it knows: host:port of all coordinators, parted by commas.
const CoordinatorsHeader = "Tandem-Coordinators"

// NothingProposed is on the answer of a coordinator that knows no leader, or was taken for the leader and is not: what was asked
// was not done, and may be asked of another one whatever it is.
const NothingProposed = "Tandem-Nothing-Proposed"

// Transport is the http.Transport that nodes and clients use: HTTP/2, dead connections noticed by pings.
func Transport(cfg *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       cfg,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   5 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   16,
		ExpectContinueTimeout: time.Second,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// ErrPin means that a server is not of the cluster that the join token was made for.
var ErrPin = errors.New("this coordinator is not of the cluster the join token was made for: check the address, or make a new token")

// pinned trusts a server whose chain holds a CA with the pinned hash and whose certificate that CA signed for a
// coordinator. Nothing else is known of the cluster before joining it.
// At a time that is not zero the certificates have to be valid then instead of now.
func pinned(caHash string, at time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: RoleName(RoleCoordinator),
		// The usual verification needs the CA beforehand; VerifyConnection below does the same with the pinned one.
		InsecureSkipVerify: true, //nolint:gosec // replaced by VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			roots, others := x509.NewCertPool(), x509.NewCertPool()
			for _, c := range s.PeerCertificates {
				if c.IsCA && CAHash(c.Raw) == caHash {
					roots.AddCert(c)
				} else {
					others.AddCert(c) // the CA that follows on the pinned one, signed by it
				}
			}
			opts := x509.VerifyOptions{Roots: roots, Intermediates: others, DNSName: RoleName(RoleCoordinator), CurrentTime: at}
			_, err := s.PeerCertificates[0].Verify(opts)
			if err == nil {
				return nil
			}
			if opts.CurrentTime, _ = suspectDates(err); !opts.CurrentTime.IsZero() {
				if _, other := s.PeerCertificates[0].Verify(opts); other == nil {
					return fmt.Errorf("the certificate of this coordinator cannot be used now: %w", err)
				}
			}
			return fmt.Errorf("%w (%w)", ErrPin, err)
		},
	}
}
