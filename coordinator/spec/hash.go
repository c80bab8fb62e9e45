package spec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Hash is the SHA-256 of a spec as canonical JSON (keys sorted, no spaces), in hexadecimal.
func Hash(spec *tandemv1.JobSpec) (string, error) {
	b, err := protojson.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("encode the spec: %w", err)
	}
	// protojson varies its spaces on purpose; encoding/json sorts keys and does not.
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", fmt.Errorf("encode the spec: %w", err)
	}
	if b, err = json.Marshal(v); err != nil {
		return "", fmt.Errorf("encode the spec: %w", err)
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:]), nil
}
