package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

func newRing(keys [][]byte) (*memberlist.Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("gossip: no key is given")
	}
	for _, key := range keys {
		if len(key) != 32 {
			return nil, fmt.Errorf("gossip: a key has %d bytes, not 32", len(key))
		}
	}
	ring, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, fmt.Errorf("gossip: take the keys: %w", err)
	}
	return ring, nil
}

// SetKeys replaces the keys while the ring goes on: the first is to write and read with, the others to read with.
func (g *Gossip) SetKeys(keys [][]byte) error {
	if _, err := newRing(keys); err != nil {
		return err
	}
	for _, key := range keys {
		if err := g.ring.AddKey(key); err != nil {
			return fmt.Errorf("gossip: add a key: %w", err)
		}
	}
	if err := g.ring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("gossip: use a key: %w", err)
	}
	for _, old := range g.ring.GetKeys() {
		if !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, old) }) {
			if err := g.ring.RemoveKey(old); err != nil {
				return fmt.Errorf("gossip: remove a key: %w", err)
			}
		}
	}
	return nil
}
