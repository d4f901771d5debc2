package graph

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// compilePattern compiles a validation pattern: unanchored RE2, in which \w, \d, \s and their negations mean Unicode's
// letters, digits and white space, as in the engines that template authors know. RE2 matches in linear time.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > MaxPatternBytes {
		return nil, fmt.Errorf("is %d bytes, at most %d", len(pattern), MaxPatternBytes)
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, err // in the author's own words, not in ours
	}
	return regexp.Compile(widen(pattern))
}

// The classes, as the inside of a bracket expression.
const (
	wordClass  = `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200c}\x{200d}`
	digitClass = `\p{Nd}`
	spaceClass = `\t-\r \x{85}\p{Z}`
)

// widen rewrites the Perl classes of a pattern that compiles.
func widen(pattern string) string {
	var out strings.Builder
	inside := false
	for i := 0; i < len(pattern); i++ {
		ch := pattern[i]
		switch {
		case ch == '\\' && i+1 < len(pattern):
			i++
			if pattern[i] == 'Q' {
				end := strings.Index(pattern[i:], `\E`)
				if end < 0 {
					end = len(pattern) - i
				}
				out.WriteString(pattern[i-1 : i+end])
				i += end - 1
				continue
			}
			out.WriteString(escape(pattern[i], inside))
		case ch == '[' && inside && i+1 < len(pattern) && pattern[i+1] == ':':
			end := strings.Index(pattern[i:], ":]")
			out.WriteString(pattern[i : i+end+2])
			i += end + 1
		case ch == '[' && !inside:
			inside = true
			out.WriteByte(ch)
			// A bracket right after the opening one, or after its ^, is itself.
			for i+1 < len(pattern) && (pattern[i+1] == '^' || pattern[i+1] == ']') {
				i++
				out.WriteByte(pattern[i])
				if pattern[i] == ']' {
					break
				}
			}
		case ch == ']':
			inside = false
			out.WriteByte(ch)
		default:
			out.WriteByte(ch)
		}
	}
	return out.String()
}

func escape(class byte, inside bool) string {
	body, negated := "", false
	switch class {
	case 'w', 'W':
		body, negated = wordClass, class == 'W'
	case 'd', 'D':
		body, negated = digitClass, class == 'D'
	case 's', 'S':
		body, negated = spaceClass, class == 'S'
	default:
		return `\` + string(class)
	}
	switch {
	case !inside && negated:
		return "[^" + body + "]"
	case !inside:
		return "[" + body + "]"
	case negated:
		return complement(class)
	default:
		return body
	}
}

// complement spells out a negated class, which cannot stand inside brackets otherwise.
func complement(class byte) string {
	in := func(r rune) bool { return unicode.Is(unicode.Nd, r) }
	switch class {
	case 'W':
		in = func(r rune) bool {
			return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc) || r == 0x200c || r == 0x200d
		}
	case 'S':
		in = func(r rune) bool { return r >= '\t' && r <= '\r' || r == 0x85 || unicode.Is(unicode.Z, r) }
	}
	var out strings.Builder
	start := rune(-1)
	for r := rune(0); r <= unicode.MaxRune+1; r++ {
		if r <= unicode.MaxRune && !in(r) {
			if start < 0 {
				start = r
			}
			continue
		}
		if start >= 0 {
			fmt.Fprintf(&out, `\x{%x}-\x{%x}`, start, r-1)
			start = -1
		}
	}
	return out.String()
}
