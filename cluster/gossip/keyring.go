//go:build !wasip1

package gossip

import (
	"bytes"
	"fmt"

	"github.com/hashicorp/memberlist"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

// ring are the keys that messages are encrypted with: the first seals, all open.
type ring struct{ *memberlist.Keyring }

func keysOf(secrets []secret.Secret) ([][]byte, error) {
	if err := secret.Check(secrets); err != nil {
		return nil, err
	}
	keys := make([][]byte, len(secrets))
	for i, s := range secrets {
		keys[i] = s.Key(secret.Gossip)
	}
	return keys, nil
}

func newRing(keys [][]byte) (ring, error) {
	k, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return ring{}, fmt.Errorf("gossip keys: %w", err)
	}
	return ring{k}, nil
}

// set puts other keys in the place of those there are. memberlist's RemoveKey moves keys within the list that messages are being
// decrypted with; only the removal of the last one moves nothing, so those that go are put there first.
func (r ring) set(keys [][]byte) error {
	for _, k := range keys {
		if err := r.AddKey(k); err != nil {
			return fmt.Errorf("gossip keys: %w", err)
		}
	}
	if err := r.UseKey(keys[0]); err != nil {
		return fmt.Errorf("gossip keys: %w", err)
	}
	if have := r.GetKeys(); !allIn(have[:len(keys)], keys) {
		for i := len(keys) - 1; i >= 0; i-- {
			if err := r.UseKey(keys[i]); err != nil {
				return fmt.Errorf("gossip keys: %w", err)
			}
		}
	}
	have := r.GetKeys()
	for i := len(have) - 1; i >= len(keys); i-- {
		if err := r.RemoveKey(have[i]); err != nil {
			return fmt.Errorf("gossip keys: %w", err)
		}
	}
	return nil
}

// allIn tells whether every one of some is among all.
func allIn(some, all [][]byte) bool {
	for _, s := range some {
		found := false
		for _, a := range all {
			found = found || bytes.Equal(s, a)
		}
		if !found {
			return false
		}
	}
	return true
}
