package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	// minSecretBytes is the least length of a secret (DESIGN.md 12 of the product): shorter ones can be guessed.
	minSecretBytes = 32
	maxSecretBytes = 4096
	// maxSecrets bounds those that are accepted at a time: two while one takes the place of another.
	maxSecrets = 8
	// newSecretBytes is what a new one is made of.
	newSecretBytes = 48
)

// parseSecrets reads one secret a line, the first being the one to use. Its errors never tell a secret.
func parseSecrets(text string) ([]string, error) {
	var all []string
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, maxConfigBytes)
	for n := 1; lines.Scan(); n++ {
		secret := strings.TrimSpace(lines.Text())
		if secret == "" {
			continue
		}
		if len(secret) < minSecretBytes || len(secret) > maxSecretBytes {
			return nil, fmt.Errorf("the secret in line %d has %d bytes: want %d to %d; make one with `memory-graph cluster secret`", n, len(secret), minSecretBytes, maxSecretBytes)
		}
		all = append(all, secret)
	}
	switch {
	case lines.Err() != nil:
		return nil, lines.Err()
	case len(all) == 0:
		return nil, errors.New("holds no secret; make one with `memory-graph cluster secret`")
	case len(all) > maxSecrets:
		return nil, fmt.Errorf("holds %d secrets, at most %d", len(all), maxSecrets)
	}
	return all, nil
}

// readSecrets reads a file of secrets.
func readSecrets(path string) ([]string, error) {
	text, err := readBounded(path, maxConfigBytes)
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
