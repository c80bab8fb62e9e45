package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// Token returns a token by id.
func (v *View) Token(id string) (*tandemv1.Token, bool) {
	return get[*tandemv1.Token](v, tokenTable, id)
}

// Tokens returns all tokens by name.
func (v *View) Tokens() []*tandemv1.Token {
	return list[*tandemv1.Token](v, tokenTable, "name_prefix", "")
}

// AccessChanged returns channels that are closed when a token, or who was removed, has changed since the view was made. Where the
// state is replaced by a snapshot they may stay open.
func (v *View) AccessChanged() (tokens, removed <-chan struct{}) {
	watch := func(table string) <-chan struct{} {
		it, err := v.txn.Get(table, "id_prefix", "")
		if err != nil {
			return nil // only a wrong name of a table or index, found by any test
		}
		return it.WatchCh()
	}
	return watch(tokenTable), watch(removedTable)
}

// AllTokens returns all tokens by id.
func (v *View) AllTokens() []*tandemv1.Token { return all[*tandemv1.Token](v, tokenTable) }

// TokenNamed returns a token by name.
func (v *View) TokenNamed(name string) (*tandemv1.Token, bool) { return v.oneToken("name", name) }

// TokenBySHA256 returns the token whose secret has this SHA-256, in hexadecimal. Whether it has ended is for the
// caller to say, who has a clock.
func (v *View) TokenBySHA256(sha256 string) (*tandemv1.Token, bool) {
	return v.oneToken("sha256", sha256)
}

func (v *View) oneToken(index, key string) (*tandemv1.Token, bool) {
	rows := list[*tandemv1.Token](v, tokenTable, index, key)
	if key == "" || len(rows) == 0 {
		return nil, false
	}
	return rows[0], true
}

// ResolveToken finds a token by id, name, or a unique prefix of an id. It fails with ErrNotFound or ErrAmbiguous.
func (v *View) ResolveToken(ref string) (*tandemv1.Token, error) {
	return resolve(v, tokenTable, "token", "token-", ref, func(name string) []*tandemv1.Token {
		return list[*tandemv1.Token](v, tokenTable, "name", name)
	})
}
