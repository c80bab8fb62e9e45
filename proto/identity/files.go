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
	fileCA     = "ca.pem"
	fileNode   = "node.pem"
	fileKey    = "node-key.pem"
	fileGossip = "gossip.key"
	filePeers  = "peers.json"
)

// ErrNone means that a folder holds no credentials: the node has not joined yet.
var ErrNone = errors.New("no credentials")

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
		{fileCA, c.CAPEM()},
		{fileKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})},
		{fileGossip, []byte(gossip.String())},
		{fileNode, chain},
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
	return WriteFile(dir, filePeers, append(b, '\n'))
}

// Load reads what Save wrote; ErrNone when the node has not joined.
func Load(dir string) (*Credentials, error) {
	node, err := os.ReadFile(filepath.Join(dir, fileNode))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read credentials in %s: %w", dir, ErrNone)
	}
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	read := map[string][]byte{}
	for _, name := range []string{fileCA, fileKey, fileGossip, filePeers} {
		if read[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("read credentials: %w", err)
		}
	}
	pair, err := tls.X509KeyPair(node, read[fileKey])
	if err != nil {
		return nil, fmt.Errorf("read credentials in %s: %w", dir, err)
	}
	c := &Credentials{Chain: pair.Certificate}
	var ok bool
	if c.Key, ok = pair.PrivateKey.(crypto.Signer); !ok {
		return nil, fmt.Errorf("read credentials in %s: the key cannot sign", dir)
	}
	trusted, err := parseAll(read[fileCA])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, fileCA), err)
	}
	leaf, err := c.Leaf()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, fileNode), err)
	}
	if c.Identity, err = FromCertificate(leaf); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, fileNode), err)
	}
	if err := c.trust(leaf, trusted); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, fileCA), err)
	}
	for i, line := range strings.Fields(string(read[fileGossip])) {
		key, err := hex.DecodeString(line)
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("read %s: not 32 bytes in hexadecimal", filepath.Join(dir, fileGossip))
		}
		if i == 0 {
			c.GossipKey = key
		} else {
			c.GossipOld = append(c.GossipOld, key)
		}
	}
	if c.GossipKey == nil {
		return nil, fmt.Errorf("read %s: no key", filepath.Join(dir, fileGossip))
	}
	if err := json.Unmarshal(read[filePeers], &c.Peers); err != nil {
		return nil, fmt.Errorf("read %s: %w: write {\"coordinators\": [\"10.0.0.1:7070\"], \"gossip\": [\"10.0.0.1:7071\"]} with their addresses, or put a copy of the file back", filepath.Join(dir, filePeers), err)
	}
	return c, nil
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
