package state

import (
	"bytes"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// key is what CAs and gossip keys have in common.
type key interface{ GetState() tandemv1.KeyState }

// Actives counts the keys that are active.
func Actives[K key](keys []K) (n int) {
	for _, k := range keys {
		if k.GetState() == tandemv1.KeyState_KEY_STATE_ACTIVE {
			n++
		}
	}
	return n
}

// KeyPart is the part that one key has.
type KeyPart struct {
	id    []byte
	state tandemv1.KeyState
}

// KeyParts are the parts of keys.
func KeyParts[K key](keys []K, id func(K) []byte) []KeyPart {
	var all []KeyPart
	for _, k := range keys {
		all = append(all, KeyPart{id(k), k.GetState()})
	}
	return all
}

// KeyNews is what has become of keys, event by event. That there are some for the first time is no news.
func KeyNews(old, now []KeyPart) (news []tandemv1.Event_Type) {
	if len(old) == 0 {
		return nil
	}
	find := func(all []KeyPart, id []byte) tandemv1.KeyState {
		for _, p := range all {
			if bytes.Equal(p.id, id) {
				return p.state
			}
		}
		return tandemv1.KeyState_KEY_STATE_UNSPECIFIED
	}
	for _, k := range now {
		switch was := find(old, k.id); {
		case was == k.state:
		case k.state == tandemv1.KeyState_KEY_STATE_NEXT:
			news = append(news, tandemv1.Event_TYPE_KEY_NEXT)
		case k.state == tandemv1.KeyState_KEY_STATE_ACTIVE:
			news = append(news, tandemv1.Event_TYPE_KEY_ACTIVE)
		}
	}
	for _, k := range old {
		if find(now, k.id) == tandemv1.KeyState_KEY_STATE_UNSPECIFIED {
			news = append(news, tandemv1.Event_TYPE_KEY_REMOVED)
		}
	}
	return news
}
