package secret

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestASecretIsLongEnough(t *testing.T) {
	for _, c := range []struct {
		bytes int
		ok    bool
	}{{0, false}, {MinBytes - 1, false}, {MinBytes, true}, {MaxBytes, true}, {MaxBytes + 1, false}} {
		_, err := New([]byte(strings.Repeat("a", c.bytes)))
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrSecret) {
			t.Errorf("a secret of %d bytes: %v", c.bytes, err)
		}
	}
}

func TestListsAreReadByLines(t *testing.T) {
	a, b := strings.Repeat("a", 32), strings.Repeat("b", 40)
	for _, c := range []struct {
		name, text string
		want       int
		wrong      string
	}{
		{"one", a, 1, ""},
		{"one with a line break", a + "\r\n", 1, ""},
		{"two", "\n" + a + "\n\n  " + b + "\n", 2, ""},
		{"none", " \n", 0, "there is none"},
		{"a short one", a + "\nshort", 0, "line 2"},
		{"twice the same", a + "\n" + a, 0, "number 2 is number 1 again"},
		{"too many", strings.Join(many(MaxSecrets+1), "\n"), 0, "at most 8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := Parse([]byte(c.text))
			if c.wrong == "" && (err != nil || len(all) != c.want) {
				t.Errorf("got %d secrets, %v; want %d", len(all), err, c.want)
			}
			if c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
				t.Errorf("got %v, want something about %q", err, c.wrong)
			}
			if err != nil && strings.Contains(err.Error(), "aaa") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func many(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%040d", i))
	}
	return all
}

// TestKeysStayWhatTheyAre: nodes of two releases must derive the same keys.
func TestKeysStayWhatTheyAre(t *testing.T) {
	s, err := New([]byte(strings.Repeat("s", 32)))
	if err != nil {
		t.Fatal(err)
	}
	golden := map[Purpose]string{
		PeerAuthority: "759842777b09c65ad5e8adccf388dee09bab0799ecb8c4d613f3c8e6f7944fda",
		Gossip:        "67f12f23b596240f59c134fe0418e4eddc58a736b1a36b92d2f52a7e87e1d6e4",
	}
	seen := map[string]Purpose{}
	for p, want := range golden {
		got := hex.EncodeToString(s.Key(p))
		if got != want {
			t.Errorf("the key for %s is %s, want %s", p, got, want)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%s and %s have the same key", p, other)
		}
		seen[got] = p
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	text := strings.Repeat("tell", 8)
	s, err := New([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprint(s) + fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s) + fmt.Sprintf("%+v", struct{ S []Secret }{[]Secret{s}})
	encoded, err := json.Marshal(map[string]Secret{"secret": s})
	if err != nil {
		t.Fatal(err)
	}
	printed += string(encoded)
	if strings.Contains(printed, "tell") || strings.Contains(printed, hex.EncodeToString([]byte("tell"))) || strings.Contains(printed, "116") {
		t.Errorf("a secret prints as %s", printed)
	}
}
