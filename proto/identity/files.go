package identity

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names of the files in a node's pki folder.
const (
	FileCA     = "ca.pem"       // the CAs that are trusted
	FileNode   = "node.pem"     // the node's certificate
	FileKey    = "node-key.pem" // the key of that
	FileGossip = "gossip.key"
	FilePeers  = "peers.json" // where to find the cluster
)

// PeersRemedy is what to do about a FilePeers that is missing or damaged: it has no secret, and its node finds the others by it.
const PeersRemedy = `put back a copy of the file, or write {"coordinators": ["10.0.0.1:7070"], "gossip": ["10.0.0.1:7071"]} into it, ` +
	`with the addresses of the other coordinators ({} when there are none)`

// ErrNone means that a folder holds no credentials: the node has not joined yet.
var ErrNone = errors.New("no credentials")

// Damaged says that a file of a node's data folder is missing or is not what it should be. Who owns the folder says what to do.
type Damaged struct {
	Path string
	Err  error // fs.ErrNotExist: it is missing
}

// Error implements error.
func (d *Damaged) Error() string {
	if errors.Is(d.Err, fs.ErrNotExist) {
		return d.Path + " is missing"
	}
	return d.Path + " is damaged: " + d.Err.Error()
}

// Unwrap gives what is wrong.
func (d *Damaged) Unwrap() error { return d.Err }

// ReadFile reads a file of a data folder that has to be there: Damaged if it is not.
func ReadFile(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Damaged{path, fs.ErrNotExist}
	}
	return b, err //nolint:wrapcheck // it names the file
}

// Credentials are all that a node keeps to prove who it is and to find the others.
type Credentials struct {
	Identity  Identity
	CA        *x509.Certificate   // that signed the node's certificate
	Also      []*x509.Certificate // other CAs that are trusted, while one follows on another
	Chain     [][]byte            // DER: the node's certificate, then the CA's and what leads from it to a CA before it
	Key       crypto.Signer       // of the node's certificate
	GossipKey []byte              // 32 bytes, to write and read with
	GossipOld [][]byte            // other keys, to read with, while one follows on another
	Peers     Peers               // as they were known last
}

// GossipKeys are all keys of gossip, the one to write with first.
func (c *Credentials) GossipKeys() [][]byte { return append([][]byte{c.GossipKey}, c.GossipOld...) }

// Same says whether two credentials are the same, where the others are left aside.
func (c *Credentials) Same(o *Credentials) bool {
	return slices.EqualFunc(c.Chain, o.Chain, bytes.Equal) && slices.EqualFunc(c.GossipKeys(), o.GossipKeys(), bytes.Equal) &&
		slices.EqualFunc(c.Trusted(), o.Trusted(), (*x509.Certificate).Equal)
}

// Trusted are all CAs that are trusted, that of the node's own certificate first.
func (c *Credentials) Trusted() []*x509.Certificate {
	return append([]*x509.Certificate{c.CA}, c.Also...)
}

// Peers is where to find the cluster.
type Peers struct {
	Coordinators []string `json:"coordinators"` // host:port of API ports
	Gossip       []string `json:"gossip"`       // host:port of gossip ports
}

// Leaf parses the node's own certificate.
func (c *Credentials) Leaf() (*x509.Certificate, error) {
	return x509.ParseCertificate(c.Chain[0])
}

// CAPEM is the certificates of the CAs, PEM: what a client trusts.
func (c *Credentials) CAPEM() []byte {
	var all []byte
	for _, ca := range c.Trusted() {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})...)
	}
	return all
}

// Save writes the credentials into dir (mode 0700, files 0600), the node's certificate last: Load finds all or none.
func (c *Credentials) Save(dir string) error {
	if err := SavePeers(dir, c.Peers); err != nil {
		return err
	}
	return c.saveKeys(dir)
}

// saveKeys writes all but the peers. Where a certificate follows on another for the same key, each file by itself can be the old
// one or the new one: what both certificates need is trusted at that time.
func (c *Credentials) saveKeys(dir string) error {
	key, err := x509.MarshalPKCS8PrivateKey(c.Key)
	if err != nil {
		return fmt.Errorf("encode the node's key: %w", err)
	}
	var gossip strings.Builder
	for _, k := range c.GossipKeys() {
		gossip.WriteString(hex.EncodeToString(k) + "\n")
	}
	var chain []byte
	for _, der := range c.Chain {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{FileCA, c.CAPEM()},
		{FileKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})},
		{FileGossip, []byte(gossip.String())},
		{FileNode, chain},
	} {
		if err := WriteFile(dir, f.name, f.data); err != nil {
			return err
		}
	}
	return nil
}

// SavePeers writes only where to find the cluster.
func SavePeers(dir string, p Peers) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("encode peers: %w", err)
	}
	return WriteFile(dir, FilePeers, append(b, '\n'))
}

// Load reads what Save wrote: ErrNone when the node's certificate does not exist, Damaged when another file is not, or is not what it should be.
func Load(dir string) (*Credentials, error) {
	if _, err := os.Stat(filepath.Join(dir, FileNode)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read credentials in %s: %w", dir, ErrNone)
	}
	c := &Credentials{}
	var node []byte
	var leaf *x509.Certificate
	for _, f := range []struct {
		name  string
		parse func([]byte) error
	}{
		{FileNode, func(b []byte) (err error) {
			node = b
			leaf, err = c.readChain(b)
			return err
		}},
		{FileKey, func(b []byte) (err error) {
			c.Key, err = readKey(node, b)
			return err
		}},
		{FileCA, func(b []byte) error {
			trusted, err := parseAll(b)
			if err != nil {
				return err
			}
			return c.trust(leaf, trusted)
		}},
		{FileGossip, c.readGossip},
		{FilePeers, func(b []byte) error { return json.Unmarshal(b, &c.Peers) }},
	} {
		b, err := ReadFile(filepath.Join(dir, f.name))
		if err != nil {
			return nil, fmt.Errorf("read credentials: %w", err)
		}
		if err := f.parse(b); err != nil {
			return nil, &Damaged{filepath.Join(dir, f.name), err}
		}
	}
	return c, nil
}

// readChain reads the node's certificate, which says who the node is, and what leads from it to a CA.
func (c *Credentials) readChain(b []byte) (leaf *x509.Certificate, err error) {
	chain, err := parseAll(b)
	if err != nil {
		return nil, err
	}
	for _, cert := range chain {
		c.Chain = append(c.Chain, cert.Raw)
	}
	c.Identity, err = FromCertificate(chain[0])
	return chain[0], err
}

// readKey reads the key of the node's certificate.
func readKey(node, b []byte) (crypto.Signer, error) {
	pair, err := tls.X509KeyPair(node, b)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	return key, nil
}

func (c *Credentials) readGossip(b []byte) error {
	for i, line := range strings.Fields(string(b)) {
		key, err := hex.DecodeString(line)
		if err != nil || len(key) != 32 {
			return errors.New("not 32 bytes in hexadecimal")
		}
		if i == 0 {
			c.GossipKey = key
		} else {
			c.GossipOld = append(c.GossipOld, key)
		}
	}
	if c.GossipKey == nil {
		return errors.New("no key")
	}
	return nil
}

// trust takes the CAs that are trusted; one of them must have signed the node's certificate.
func (c *Credentials) trust(leaf *x509.Certificate, trusted []*x509.Certificate) error {
	c.CA, c.Also = nil, nil
	for _, ca := range trusted {
		if c.CA == nil && leaf.CheckSignatureFrom(ca) == nil {
			c.CA = ca
		} else {
			c.Also = append(c.Also, ca)
		}
	}
	if c.CA == nil {
		return errors.New("no CA there has signed the node's certificate")
	}
	return nil
}

// parseAll reads the certificates of a PEM file, at least one.
func parseAll(b []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
		b = rest
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return all, nil
}

// ParsePEM reads one certificate.
func ParsePEM(b []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// WriteFile writes one secret file whole or not at all, with mode 0600; it makes the folder with mode 0700.
func WriteFile(dir, name string, data []byte) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder for keys: %w", err)
	}
	f, err := os.CreateTemp(dir, "."+name+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(dir, name), err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", filepath.Join(dir, name), err)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	return err
}
