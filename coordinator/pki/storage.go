package pki

import (
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

const sealedStorage = "secret key of the store"

// CloseStorage is how to reach the store as it stands in the log: its secret key is sealed.
func CloseStorage(c *tandemv1.StorageConfig, seal *Seal) *tandemv1.StorageConfig {
	closed := proto.CloneOf(c)
	closed.SealedSecretKey, closed.SecretKey = seal.Close([]byte(c.GetSecretKey()), sealedStorage), ""
	return closed
}

// OpenStorage is how to reach the store, with its secret key. One of the time before stands in the log as it is.
func OpenStorage(c *tandemv1.StorageConfig, seal *Seal) (*tandemv1.StorageConfig, error) {
	if len(c.GetSealedSecretKey()) == 0 {
		return c, nil
	}
	secret, err := seal.Open(c.GetSealedSecretKey(), sealedStorage)
	if err != nil {
		return nil, err
	}
	open := proto.CloneOf(c)
	open.SealedSecretKey, open.SecretKey = nil, string(secret)
	return open, nil
}
