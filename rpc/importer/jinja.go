package importer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// freeNames are the names that a Jinja template takes from outside: those in {{ … }} and {% … %} that it does not set
// itself, each once, in their order. Attributes, filters, tests, named arguments and Jinja's own functions are none. The
// text is never changed, and what is no Jinja gives no names.
func freeNames(text string) []string {
	j := &jinja{text: text, scopes: []map[string]bool{{}}}
	for j.block() {
	}
	return j.free
}

// A jinja is a template that is being looked through.
type jinja struct {
	text string // what is left of it
	// scopes are the names that are set, the innermost last; blocks are the statements that are open.
	scopes []map[string]bool
	blocks []string
	free   []string
	seen   map[string]bool
}

// block looks at the next {{ … }}, {% … %} or {# … #}.
func (j *jinja) block() bool {
	for {
		start := strings.IndexByte(j.text, '{')
		if start < 0 || start+2 > len(j.text) {
			return false
		}
		opening := j.text[start:min(start+2, len(j.text))]
		j.text = j.text[start+1:]
		switch opening {
		case "{#":
			_, rest, closed := strings.Cut(j.text, "#}")
			j.text = rest
			return closed
		case "{{":
			words, ok := j.words("}}")
			j.uses(words)
			return ok
		case "{%":
			words, ok := j.words("%}")
			if ok && len(words) > 0 {
				j.statement(words[0].text, words[1:])
			}
			return ok
		}
	}
}

// A word is a token: a name, a string, a number (its text is empty), or an operator.
type word struct {
	kind wordKind
	text string
}

type wordKind int

const (
	wordName wordKind = iota
	wordValue
	wordOperator
)

// words takes the words up to the closing mark. Without one it takes none, and nothing that follows is Jinja.
func (j *jinja) words(closing string) (all []word, ok bool) {
	rest := withoutSign(j.text[1:])
	for depth := 0; ; {
		rest = strings.TrimLeft(rest, " \t\r\n")
		if after, found := strings.CutPrefix(withoutSign(rest), closing); found && depth == 0 {
			j.text = after
			return all, true
		}
		if rest == "" {
			j.text = ""
			return nil, false
		}
		w, size := nextWord(rest)
		switch w.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth = max(0, depth-1)
		}
		all, rest = append(all, w), rest[size:]
	}
}

// withoutSign is text without the sign that tells Jinja what to do with white space.
func withoutSign(text string) string {
	if text != "" && (text[0] == '-' || text[0] == '+') {
		return text[1:]
	}
	return text
}

// nextWord is the word that text begins with, and its size.
func nextWord(text string) (word, int) {
	r, size := utf8.DecodeRuneInString(text)
	switch {
	case r == '_' || unicode.IsLetter(r):
		end := strings.IndexFunc(text, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if end < 0 {
			end = len(text)
		}
		return word{wordName, text[:end]}, end
	case r == '"' || r == '\'':
		for i := 1; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
			case byte(r):
				return word{kind: wordValue}, i + 1
			}
		}
		return word{kind: wordValue}, len(text)
	case unicode.IsDigit(r):
		end := strings.IndexFunc(text, func(r rune) bool { return r != '_' && !unicode.IsDigit(r) })
		if end < 0 {
			end = len(text)
		}
		return word{kind: wordValue}, end
	}
	if two := text[:min(2, len(text))]; slices.Contains([]string{"==", "!=", "<=", ">="}, two) {
		return word{wordOperator, two}, 2
	}
	return word{wordOperator, text[:size]}, size
}

// statement follows what sets names and how far that reaches.
func (j *jinja) statement(name string, words []word) {
	switch name {
	case "raw":
		j.skipRaw()
	case "set":
		targets, value, _ := cutAt(words, "=")
		j.uses(value)
		j.set(targets)
	case "for":
		targets, rest, _ := cutAt(words, "in")
		iterated, condition, _ := cutAt(rest, "if")
		j.uses(iterated)
		j.open(name)
		j.set(append(targets, word{wordName, "loop"}))
		j.uses(condition)
	case "with":
		j.open(name)
		for more := true; more; {
			var one []word
			one, words, more = cutAt(words, ",")
			target, value, _ := cutAt(one, "=")
			j.uses(value)
			j.set(target)
		}
	case "macro":
		if len(words) > 0 {
			j.set(words[:1])
			j.open(name)
			j.set(words[1:])
		}
	case "else":
		if n := len(j.blocks); n > 0 && j.blocks[n-1] == "for" {
			j.scopes[len(j.scopes)-1] = map[string]bool{}
		}
	case "if":
		j.blocks = append(j.blocks, name)
		j.uses(words)
	case "endfor", "endwith", "endmacro", "endif":
		j.close(strings.TrimPrefix(name, "end"))
	default:
		j.uses(words)
	}
}

// skipRaw goes on behind the end of a part that is no Jinja.
func (j *jinja) skipRaw() {
	for {
		_, rest, found := strings.Cut(j.text, "{%")
		if j.text = rest; !found {
			return
		}
		if strings.HasPrefix(strings.TrimLeft(rest, "-+ \t\r\n"), "endraw") {
			_, j.text, _ = strings.Cut(rest, "%}")
			return
		}
	}
}

func (j *jinja) open(block string) {
	j.blocks = append(j.blocks, block)
	j.scopes = append(j.scopes, map[string]bool{})
}

func (j *jinja) close(block string) {
	if n := len(j.blocks); n > 0 && j.blocks[n-1] == block {
		j.blocks = j.blocks[:n-1]
		if block != "if" {
			j.scopes = j.scopes[:len(j.scopes)-1]
		}
	}
}

// set notes the names that a statement sets. A member of something sets nothing.
func (j *jinja) set(targets []word) {
	for i, w := range targets {
		if w.kind == wordName && !isMember(targets, i) {
			j.scopes[len(j.scopes)-1][w.text] = true
		}
	}
}

// uses notes the free names in an expression.
func (j *jinja) uses(words []word) {
	for i, w := range words {
		argument := i+1 < len(words) && words[i+1] == word{wordOperator, "="}
		if w.kind != wordName || argument || isMember(words, i) || isKeyword(w.text) || j.isSet(w.text) || j.seen[w.text] {
			continue
		}
		if j.seen == nil {
			j.seen = make(map[string]bool)
		}
		j.seen[w.text] = true
		j.free = append(j.free, w.text)
	}
}

// maxScopes is how many scopes a name is looked for in, the innermost first.
const maxScopes = 100

func (j *jinja) isSet(name string) bool {
	for _, scope := range slices.Backward(j.scopes[max(0, len(j.scopes)-maxScopes):]) {
		if scope[name] {
			return true
		}
	}
	return j.scopes[0][name]
}

// isMember says that the word at i is an attribute, a filter or a test, and no name.
func isMember(words []word, i int) bool {
	if i == 0 {
		return false
	}
	before := words[i-1]
	if before == (word{wordName, "not"}) && i > 1 {
		before = words[i-2]
		return before == word{wordName, "is"}
	}
	return before == word{wordOperator, "."} || before == word{wordOperator, "|"} || before == word{wordName, "is"}
}

// isKeyword knows the words of Jinja's expressions, and the functions that every template has.
func isKeyword(name string) bool {
	switch name {
	case "and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None", "recursive", "range", "dict", "lipsum",
		"cycler", "joiner", "namespace":
		return true
	}
	return false
}

// cutAt cuts words around the first mark that stands in no brackets.
func cutAt(words []word, mark string) (before, after []word, found bool) {
	depth := 0
	for i, w := range words {
		switch {
		case w.kind == wordValue:
		case depth == 0 && w.text == mark:
			return words[:i:i], words[i+1:], true
		case w.text == "(" || w.text == "[" || w.text == "{":
			depth++
		case w.text == ")" || w.text == "]" || w.text == "}":
			depth--
		}
	}
	return words, nil, false
}
