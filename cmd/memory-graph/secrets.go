package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/globalbusinessadvisors/llm-memory-graph/cluster/peer/secret"
)

// newSecretBytes is what a new secret is made of.
const newSecretBytes = 48

// maxSecretsBytes bounds a file of secrets.
const maxSecretsBytes = 1 << 20

// parseSecrets reads one secret a line, the first being the one to use. Its errors never tell a secret.
func parseSecrets(text string) ([]secret.Secret, error) {
	all, err := secret.Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%w; make one with `memory-graph cluster secret`", err)
	}
	return all, nil
}

// readSecrets reads a file of secrets.
func readSecrets(path string) ([]secret.Secret, error) {
	text, err := readBounded(path, maxSecretsBytes)
	if err != nil {
		return nil, fmt.Errorf("secrets of the cluster: %w", err)
	}
	all, err := parseSecrets(text)
	if err != nil {
		return nil, fmt.Errorf("secrets of the cluster: %s: %w", path, err)
	}
	return all, nil
}

// newSecret makes a secret of a line.
func newSecret() (string, error) {
	var b [newSecretBytes]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}
