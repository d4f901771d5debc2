package graph

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
)

// compilePattern compiles a validation pattern: unanchored RE2, in which \w, \d, \s and their negations mean Unicode's
// letters, digits and white space, as in the engines that template authors know. RE2 matches in linear time.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	if err := checkPattern(pattern); err != nil {
		return nil, err
	}
	wide, _ := widen(pattern)
	return regexp.Compile(wide)
}

// checkPattern refuses what compilePattern would, for less: a class of Unicode takes a tenth of a millisecond to compile, and
// a request may bring thousands of patterns. That what it passes compiles is fuzzed.
func checkPattern(pattern string) error {
	if len(pattern) > MaxPatternBytes {
		return fmt.Errorf("is %d bytes, at most %d", len(pattern), MaxPatternBytes)
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return err // in the author's own words, not in ours
	}
	if n := programSize(pattern); n > MaxPatternProgram {
		return fmt.Errorf("repeats too much: it compiles to %d instructions, at most %d", n, MaxPatternProgram)
	}
	if _, n := widen(pattern); n > MaxPatternClasses {
		return fmt.Errorf(`has %d classes \w, \d, \s, at most %d`, n, MaxPatternClasses)
	}
	return nil
}

// programSize is how many instructions a pattern that compiles becomes. Matching takes that many steps for each byte of a
// value at the worst.
func programSize(pattern string) int {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0
	}
	program, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 0
	}
	return len(program.Inst)
}

// The classes, as the inside of a bracket expression. None begins or ends with a character that a hyphen beside it would
// take for the end of a range. The complement of the word class takes the format characters apart: two of them join words.
const (
	wordClass    = `\x{200c}\x{200d}\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}`
	digitClass   = `\p{Nd}`
	spaceClass   = `\t-\r\x{85}\p{Z}`
	noDigitClass = `\P{Nd}`
	noSpaceClass = `\x00-\x08\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{L}\p{M}\p{N}\p{P}\p{S}`
	noWordClass  = `\p{Cc}\p{Cn}\p{Co}\p{Cs}\p{No}\p{Pd}\p{Pe}\p{Pf}\p{Pi}\p{Po}\p{Ps}\p{S}\p{Z}`
)

// widen rewrites the Perl classes of a pattern that compiles, and nothing else of it, and counts them.
func widen(pattern string) (wide string, classes int) {
	var out strings.Builder
	count := func(escape, class string) string {
		if escape != class {
			classes++
		}
		return class
	}
	for pattern != "" {
		n := 1
		switch {
		case strings.HasPrefix(pattern, `\Q`):
			if n = strings.Index(pattern, `\E`) + 2; n < 2 {
				n = len(pattern)
			}
			out.WriteString(pattern[:n])
		case pattern[0] == '\\' && len(pattern) > 1:
			n = 2
			out.WriteString(count(pattern[:2], outside(pattern[:2])))
		case pattern[0] == '[':
			n = widenBrackets(&out, pattern, count)
		default:
			out.WriteByte(pattern[0])
		}
		pattern = pattern[n:]
	}
	return out.String(), classes
}

// widenBrackets rewrites the bracket expression that a pattern begins with and returns its length.
func widenBrackets(out *strings.Builder, pattern string, count func(escape, class string) string) int {
	i := 1
	if strings.HasPrefix(pattern[i:], "^") {
		i++
	}
	if strings.HasPrefix(pattern[i:], "]") {
		i++ // right after the opening bracket, or after its ^, it is itself
	}
	out.WriteString(pattern[:i])
	for i < len(pattern) {
		n := 1
		switch rest := pattern[i:]; {
		case rest[0] == ']':
			out.WriteByte(']')
			return i + 1
		case rest[0] == '\\' && len(rest) > 1:
			n = 2
			out.WriteString(count(rest[:2], inside(rest[:2])))
		case strings.HasPrefix(rest, "[:"):
			if end := strings.Index(rest[2:], ":]"); end >= 0 {
				n = end + 4
			}
			out.WriteString(rest[:n])
		default:
			out.WriteByte(rest[0])
		}
		i += n
	}
	return i
}

// outside is what an escape stands for outside of brackets.
func outside(escape string) string {
	switch escape[1] {
	case 'w', 'd', 's':
		return "[" + inside(escape) + "]"
	case 'W':
		return "[^" + wordClass + "]"
	case 'D':
		return "[^" + digitClass + "]"
	case 'S':
		return "[^" + spaceClass + "]"
	default:
		return escape
	}
}

// inside is what an escape stands for inside of brackets, where no class can be negated.
func inside(escape string) string {
	switch escape[1] {
	case 'w':
		return wordClass
	case 'd':
		return digitClass
	case 's':
		return spaceClass
	case 'W':
		return formatClass() + noWordClass
	case 'D':
		return noDigitClass
	case 'S':
		return noSpaceClass
	default:
		return escape
	}
}

// formatClass is the format characters without the two that belong to words.
func formatClass() string {
	var out strings.Builder
	add := func(from, to, stride rune) {
		for r := from; r <= to; r += stride {
			if r != 0x200c && r != 0x200d {
				fmt.Fprintf(&out, `\x{%x}`, r)
			}
		}
	}
	for _, r := range unicode.Cf.R16 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range unicode.Cf.R32 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	return out.String()
}
