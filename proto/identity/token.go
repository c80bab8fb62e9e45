package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	bearerPrefix = "tdm_"
	joinPrefix   = "tdmjoin"
)

// ErrToken means that a text is not a token.
var ErrToken = errors.New("not a join token: copy the whole of what \"tandem token create --join\" printed")

// JoinToken lets one kind of node join one cluster. Its text is "tdmjoin.<role>.<random>.<sha256 of the CA, hex>".
type JoinToken struct {
	Role   Role
	Secret string // 32 random bytes, base64url
	CAHash string // SHA-256 of the CA's certificate (DER), hex
}

// String is the text a user copies.
func (t JoinToken) String() string {
	return strings.Join([]string{joinPrefix, string(t.Role), t.Secret, t.CAHash}, ".")
}

// NewJoinToken mints a join token for a role, bound to a CA.
func NewJoinToken(role Role, ca *x509.Certificate) JoinToken {
	return JoinToken{Role: role, Secret: random(), CAHash: CAHash(ca.Raw)}
}

// ParseJoinToken reads the text of a join token.
func ParseJoinToken(s string) (JoinToken, error) {
	parts := strings.Split(strings.TrimSpace(s), ".")
	if len(parts) != 4 || parts[0] != joinPrefix {
		return JoinToken{}, ErrToken
	}
	t := JoinToken{Role: Role(parts[1]), Secret: parts[2], CAHash: parts[3]}
	if !t.Role.Valid() {
		return JoinToken{}, fmt.Errorf("role %q: %w", parts[1], ErrToken)
	}
	if b, err := base64.RawURLEncoding.DecodeString(t.Secret); err != nil || len(b) != 32 {
		return JoinToken{}, ErrToken
	}
	if b, err := hex.DecodeString(t.CAHash); err != nil || len(b) != sha256.Size {
		return JoinToken{}, ErrToken
	}
	return t, nil
}

// NewBearerToken mints the secret of a client: "tdm_" and 32 random bytes in base64url.
func NewBearerToken() string { return bearerPrefix + random() }

// HashToken is what is kept of a token: the SHA-256 of its text, in hexadecimal.
func HashToken(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

// CAHash is the SHA-256 of a certificate (DER), in hexadecimal.
func CAHash(der []byte) string {
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:])
}

func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}
