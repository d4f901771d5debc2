package main

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/text"
)

// Stored texts come from models, tools and strangers. A terminal obeys what it is sent, so nothing that could move its
// cursor, change its colours, reorder its letters or hide among them leaves this program unescaped.

// zeroWidthJoiner holds emoji together and changes nothing else.
const zeroWidthJoiner = '\u200d'

// unsafe says that a terminal might obey the character, or show nothing of it.
func unsafe(r rune) bool {
	return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) && r != zeroWidthJoiner
}

// printable escapes what a terminal might obey, line breaks and tabs included.
func printable(s string) string {
	if !strings.ContainsFunc(s, unsafe) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !unsafe(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// oneLine makes one line of a text: runs of white space become one space, what is unsafe is escaped.
func oneLine(s string) string { return printable(strings.Join(strings.Fields(s), " ")) }

// printableLines splits a text into lines that are printable, each for itself.
func printableLines(s string) []string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\t", "    ")
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, l := range lines {
		lines[i] = printable(l)
	}
	return lines
}

// cut shortens a printable line to a number of columns; what is missing shows as an ellipsis.
func cut(s string, columns int) string {
	if len(s) <= columns {
		return s
	}
	used, keep := 0, 0
	for i, r := range s {
		w := text.RuneWidth(r)
		if used+w > columns {
			return s[:keep] + "…"
		}
		if used+w <= columns-1 {
			keep = i + len(string(r))
		}
		used += w
	}
	return s
}

// columns is how many columns a printable line takes.
func columns(s string) int { return text.StringWidthWithoutEscSequences(s) }

// escapeUnsafe escapes, inside JSON text, what JSON allows and a terminal might obey. The text means the same afterwards.
func escapeUnsafe(raw []byte) []byte {
	return escapeHidden(raw, func(r rune) string {
		r -= 0x10000
		return fmt.Sprintf(`\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	})
}

// escapeUnsafeYAML is escapeUnsafe for YAML, whose escapes beyond four digits are others.
func escapeUnsafeYAML(raw []byte) []byte {
	return escapeHidden(raw, func(r rune) string { return fmt.Sprintf(`\U%08x`, r) })
}

func escapeHidden(raw []byte, large func(rune) string) []byte {
	s := string(raw)
	hidden := func(r rune) bool { return r >= 0x7f && unsafe(r) }
	if !strings.ContainsFunc(s, hidden) {
		return raw
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(large(r))
		}
	}
	return []byte(b.String())
}
