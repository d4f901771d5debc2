package graph

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"
)

func TestPatternsAreUnicode(t *testing.T) {
	for _, c := range []struct {
		pattern  string
		yes, not []string
	}{
		{`^\w+$`, []string{"Zürich", "東京", "naïve_1", "می\u200cخواهم", "Ⅳ"}, []string{"a b", "", "a-b", "№", "Ⓐ"}},
		{`^\W$`, []string{" ", "-", "№", "\u200b", "\U0010ffff"}, []string{"ü", "_", "\u200d", "९"}},
		{`^\d+$`, []string{"0123", "٣٤", "९"}, []string{"1.0", "½", "Ⅳ"}},
		{`^\D$`, []string{"½", "a"}, []string{"٣"}},
		{`^\s$`, []string{" ", "\t", "\v", "\f", "\u0085", "\u00a0", "\u3000", "\u2028"}, []string{"\u200b", "a", "\x1c"}},
		{`^\S$`, []string{"\u200b", "a"}, []string{"\u3000", "\v", "\u2029"}},
		{`^[\w.-]+@[\w-]+\.\w{2,}$`, []string{"a.b-c@x.org", "ü@münchen.de"}, []string{"a@b", "@x.org"}},
		{`^[\w-z]$`, []string{"-", "z", "ü"}, []string{"~"}},
		{`^[-\w]$`, []string{"-", "ü"}, []string{"+"}},
		{`^[\s-z]$`, []string{"-", "z", "\u3000"}, []string{"y"}},
		{`^[a\W]$`, []string{"a", " ", "\u200b", "\ue000"}, []string{"b", "ü", "\u200c"}},
		{`^[a\W-z]$`, []string{"a", "-", "z"}, []string{"b"}},
		{`^[^\W]$`, []string{"b", "ü"}, []string{" "}},
		{`^[^\w\s]$`, []string{"!", "\u200b"}, []string{"ü", "\u3000"}},
		{`^[x\D]$`, []string{"x", "½"}, []string{"٣"}},
		{`^[^\D]$`, []string{"٣"}, []string{"x"}},
		{`^[x\S]$`, []string{"x", "\u200b"}, []string{"\u3000", "\t", "\u0085"}},
		{`^[^\S]$`, []string{"\u3000", "\r"}, []string{"x"}},
		{`^\\w$`, []string{`\w`}, []string{"a", `\a`}},
		{`^[\\w]$`, []string{`\`, "w"}, []string{"a", "ü"}},
		{`^\[\w]$`, []string{"[ü]"}, []string{"ü"}},
		{`^\Q\w[\E\w$`, []string{`\w[ü`}, []string{"aaü", `\w[ `}},
		{`^\Q\w`, []string{`\w`}, []string{"a"}},
		{`^[]\w]$`, []string{"]", "ü"}, []string{"[", "!"}},
		{`^[^]\w]$`, []string{"[", "!"}, []string{"]", "ü"}},
		{`^[^^]\w$`, []string{"aü", "]ü"}, []string{"^ü", "a!"}},
		{`^[[:digit:]\w]$`, []string{"1", "ü"}, []string{":", "["}},
		{`^[[:^alpha:]]\w$`, []string{"1ü"}, []string{"aü"}},
		{`^[[:]\w$`, []string{"[ü", ":ü"}, []string{"ü", "]ü"}},
		{`^[a[\w]$`, []string{"[", "ü"}, []string{"!"}},
		{`^\p{Greek}\w\x{41}$`, []string{"αüA"}, []string{"aüA"}},
		{`(?i)^[k\d]$`, []string{"K", "\u212a", "٣"}, []string{"l"}},
		{`a`, []string{"bab"}, []string{"b"}},
	} {
		re, err := compilePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for _, s := range c.yes {
			if !re.MatchString(s) {
				t.Errorf("%s must match %q", c.pattern, s)
			}
		}
		for _, s := range c.not {
			if re.MatchString(s) {
				t.Errorf("%s must not match %q", c.pattern, s)
			}
		}
	}
}

// TestComplements holds the classes that are spelled out to those that they are the complement of, rune by rune.
func TestComplements(t *testing.T) {
	for _, c := range []string{"w", "d", "s"} {
		class := regexp.MustCompile("^" + wide(`\`+c) + "$")
		other := regexp.MustCompile("^" + wide(`[\`+strings.ToUpper(c)+`]`) + "$")
		for r := rune(0); r <= unicode.MaxRune; r++ {
			if r >= 0xd800 && r <= 0xdfff {
				continue
			}
			if s := string(r); class.MatchString(s) == other.MatchString(s) {
				t.Fatalf(`\%s and [\%s] agree on %U`, c, strings.ToUpper(c), r)
			}
		}
	}
}

func TestAPatternWithoutPerlClassesIsUnchanged(t *testing.T) {
	atoms := []string{"a", "ü", ".", "[a-z]", "[^]x]", "[[:alpha:]_]", "(?i:b)", "(?P<name>c)", `\.`, `\p{L}`, `\x{e9}`, `\Qw\d\E`, "x{2,3}", "a|b", "^", "$", `\b`}
	rapid.Check(t, func(t *rapid.T) {
		p := strings.Join(rapid.SliceOf(rapid.SampledFrom(atoms)).Draw(t, "atoms"), "")
		if got, n := widen(p); got != p || n != 0 {
			t.Fatalf("%s became %s, with %d classes", p, got, n)
		}
	})
}

func TestPatternErrorsAreInTheAuthorsWords(t *testing.T) {
	if _, err := compilePattern(`\w(`); err == nil || !strings.Contains(err.Error(), "`\\w(`") {
		t.Errorf("got %v", err)
	}
}

// TestHostilePatternsAreCheap: a template may declare 64 patterns of 1024 bytes, a request thousands of them.
func TestHostilePatternsAreCheap(t *testing.T) {
	for _, unit := range []string{`[\W]`, `\W`, `[\w\W\S]`, `[^\W]?`} {
		n := strings.Count(unit, `\`)
		most := strings.Repeat(unit, MaxPatternClasses/n)
		if err := checkPattern(most); err != nil {
			t.Errorf("%s…: %v", unit, err)
		}
		if err := checkPattern(most + unit); err == nil || !strings.Contains(err.Error(), "at most 64") {
			t.Errorf("%s… once more: %v", unit, err)
		}
		start := time.Now()
		if _, err := compilePattern(most); err != nil {
			t.Errorf("%s…: %v", unit, err)
		}
		t.Logf("%s…: %v", unit, time.Since(start))
	}
}

func wide(pattern string) string {
	w, _ := widen(pattern)
	return w
}
