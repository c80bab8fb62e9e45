package api

import (
	"sync"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// maxBearers is how many tokens are remembered: some 300 bytes each.
const maxBearers = 10_000

// bearers remembers tokens by the hash of their secret, also when they were revoked: the audit log names whoever comes with one. It is
// forgotten when the coordinator ends.
type bearers struct {
	mu     sync.Mutex
	tokens map[string]*tandemv1.Token
}

func (b *bearers) learn(tokens ...*tandemv1.Token) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range tokens {
		if _, known := b.tokens[t.GetSha256()]; !known && len(b.tokens) >= maxBearers {
			clear(b.tokens) // those that are good are learned again within a second
		}
		b.tokens[t.GetSha256()] = t
	}
}

func (b *bearers) find(hash string) *tandemv1.Token {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tokens[hash]
}
