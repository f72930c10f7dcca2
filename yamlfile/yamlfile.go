// Package yamlfile reads the YAML files that people write for vft: mappings,
// lists and scalars, nothing deeper than 32 levels. Whatever a file holds, the
// result is nodes or one *Error of one line that names file, line and key.
package yamlfile

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The limits of a file. The library's time grows with the square of the
// nesting, so that must be bounded before it sees the text.
const (
	MaxBytes = 1 << 20
	maxDepth = 32
)

// Error is something in a file that cannot be used.
type Error struct {
	Where string // "vft.yaml:3: traps"
	What  string // what is wrong and what is allowed
}

func (e *Error) Error() string { return e.Where + ": " + e.What }

// Errorf returns an *Error of one line.
func Errorf(where, format string, args ...any) *Error {
	return &Error{printable(where), printable(fmt.Sprintf(format, args...))}
}

// printable keeps what a file holds from breaking the line or the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// Entry is one KEY: VALUE of a mapping.
type Entry struct {
	Key   string
	Where string // "vft.yaml:3"
	Value ast.Node
}

// Place names the entry for an error: "vft.yaml:3: traps".
func (e Entry) Place() string { return e.Where + ": " + e.Key }

// Parse returns the entries of the mapping that a file is. An empty file has
// none.
func Parse(path string, text []byte) (entries []Entry, err error) {
	if err := limits(path, text); err != nil {
		return nil, err
	}
	// What the library cannot take must not end vft without a word.
	defer func() {
		if p := recover(); p != nil {
			entries, err = nil, Errorf(path, "cannot be read as YAML: %v", p)
		}
	}()
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxError(path, err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		more, err := Mapping(path, doc.Body)
		if err != nil {
			return nil, err
		}
		entries = append(entries, more...)
	}
	return entries, nil
}

// Mapping returns the entries of a node that must be a mapping. No key stands
// twice in it.
func Mapping(path string, node ast.Node) ([]Entry, error) {
	var values []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	case *ast.NullNode:
		return nil, nil
	default:
		return nil, Errorf(Place(path, node), "must be a mapping; write NAME: VALUE")
	}
	entries, seen := make([]Entry, 0, len(values)), map[string]bool{}
	for _, v := range values {
		e := Entry{key(v), Place(path, v.Key), v.Value}
		if seen[e.Key] {
			return nil, Errorf(e.Where, "%s stands there twice; keep one", e.Key)
		}
		seen[e.Key] = true
		entries = append(entries, e)
	}
	return entries, nil
}

// Items returns the nodes of a list; a single value is a list of one, nothing
// is an empty list.
func Items(node ast.Node) []ast.Node {
	switch n := node.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		return n.Values
	}
	return []ast.Node{node}
}

// Scalar returns the text of a node that must be a single value.
func Scalar(path string, node ast.Node) (string, error) {
	switch n := node.(type) {
	case nil, *ast.NullNode:
		return "", nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case ast.ScalarNode:
		return n.GetToken().Value, nil
	}
	return "", Errorf(Place(path, node), "must be one value, not a list or a mapping")
}

// Place names a node for an error: "vft.yaml:3".
func Place(path string, node ast.Node) string { return tokenPlace(path, node.GetToken()) }

func tokenPlace(path string, t *token.Token) string {
	if t == nil || t.Position == nil {
		return path
	}
	return fmt.Sprintf("%s:%d", path, t.Position.Line)
}

func key(v *ast.MappingValueNode) string {
	if s, ok := v.Key.(*ast.StringNode); ok {
		return s.Value
	}
	return v.Key.String()
}

// syntaxError turns the library's drawing of the place into one line.
func syntaxError(path string, err error) error {
	var located interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &located) {
		return Errorf(tokenPlace(path, located.GetToken()), "%s", located.GetMessage())
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return Errorf(path, "%s", first)
}

// limits refuses what is larger or deeper than any file for vft. Brackets and
// list marks inside a text count too: no setting has that many.
func limits(path string, text []byte) error {
	if len(text) > MaxBytes {
		return Errorf(path, "is larger than 1 MiB, which no file for vft needs")
	}
	depth, marks, indent, line := 0, 0, 0, 1
	start := true // only spaces so far in this line
	for i, c := range text {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case '-', '?', ':':
			if i+1 < len(text) && (text[i+1] == ' ' || text[i+1] == '\t' || text[i+1] == '\n') {
				marks++
			}
		case '\n':
			line, marks, indent, start = line+1, 0, 0, true
			continue
		}
		if start && c == ' ' {
			indent++
		} else {
			start = false
		}
		if depth > maxDepth || marks > maxDepth || indent > 8*maxDepth {
			return Errorf(fmt.Sprintf("%s:%d", path, line), "is nested deeper than %d levels", maxDepth)
		}
	}
	return nil
}
