package pki

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"tandem.dev/proto/identity"
)

const (
	fileSeal = "seal.key"
	sealSize = 32
)

// Seal encrypts the secrets that stand in the log and in snapshots (AES-256-GCM), with a key that is in neither: each coordinator has
// it in its pki folder, and who joins is given it with the CA's key.
type Seal struct {
	key  []byte
	aead cipher.AEAD
}

// NewSeal takes a key of 32 bytes; nil: a new one.
func NewSeal(key []byte) (*Seal, error) {
	if key == nil {
		key = make([]byte, sealSize)
		_, _ = rand.Read(key) // never fails: crypto/rand ends the process instead
	}
	if len(key) != sealSize {
		return nil, fmt.Errorf("the key for secrets has %d bytes, not %d", len(key), sealSize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use the key for secrets: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("use the key for secrets: %w", err)
	}
	return &Seal{key: key, aead: aead}, nil
}

// LoadSeal reads the key from a coordinator's pki folder.
func LoadSeal(dir string) (*Seal, error) {
	path := filepath.Join(dir, fileSeal)
	b, err := identity.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key for secrets: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != sealSize {
		return nil, &identity.Damaged{Path: path, Err: fmt.Errorf("not %d bytes in hexadecimal", sealSize)}
	}
	return NewSeal(key)
}

// DeriveSeal makes the key of a cluster of the time before there was a file: it follows from the CA's key, which all its coordinators have.
func DeriveSeal(dir string, ca *CA) (*Seal, error) {
	der, err := ca.KeyDER()
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, der, nil, "secrets of the replicated log", sealSize)
	if err != nil {
		return nil, fmt.Errorf("derive the key for secrets: %w", err)
	}
	s, err := NewSeal(key)
	if err != nil {
		return nil, err
	}
	return s, s.Save(dir)
}

// Save writes the key (mode 0600).
func (s *Seal) Save(dir string) error {
	return identity.WriteFile(dir, fileSeal, []byte(hex.EncodeToString(s.key)+"\n"))
}

// Key is the key; only another coordinator may get it.
func (s *Seal) Key() []byte { return s.key }

// Close seals a secret. What says what it is, so that one secret cannot be put in the place of another.
func (s *Seal) Close(secret []byte, what string) []byte {
	return s.aead.Seal(nil, nil, secret, []byte(what))
}

// Open reads a secret that Close sealed as the same thing.
func (s *Seal) Open(sealed []byte, what string) ([]byte, error) {
	secret, err := s.aead.Open(nil, nil, sealed, []byte(what))
	if err != nil {
		return nil, fmt.Errorf("open the sealed %s: it was sealed with another key than pki/%s of the data folder, which may be missing or damaged: copy that file from another coordinator or from a backup; or the folder is that of another cluster", what, fileSeal)
	}
	return secret, nil
}
