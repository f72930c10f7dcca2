package yamlfile

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		why, text string
		keys      string // of the entries, or
		err       string // part of the error
	}{
		{"a mapping", "a: 1\nb: [1, 2]\n", "a b", ""},
		{"an empty file has no settings", "", "", ""},
		{"a comment alone is an empty file", "# nothing yet\n", "", ""},
		{"two documents are one list", "a: 1\n---\nb: 2\n", "a b", ""},
		{"a list is no mapping", "- a\n", "", "f.yaml:1: must be a mapping"},
		{"a key twice", "a: 1\na: 2\n", "", "f.yaml:2: a stands there twice"},
		{"an open bracket", "a: [1\n", "", "f.yaml"},
		{"brackets nested without end", strings.Repeat("[", 1<<19), "", "nested deeper"},
		{"list marks nested without end", strings.Repeat("- ", 1<<18), "", "nested deeper"},
		{"mappings nested without end", nestedMappings(300), "", "nested deeper"},
		{"too large", strings.Repeat("#", MaxBytes+1), "", "1 MiB"},
	} {
		entries, err := Parse("f.yaml", []byte(c.text))
		var keys []string
		for _, e := range entries {
			keys = append(keys, e.Key)
		}
		if got := strings.Join(keys, " "); got != c.keys {
			t.Errorf("%s: keys %q", c.why, got)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v", c.why, err)
		}
	}
}

func nestedMappings(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"traps: 5\n", "p: [80, 443]\n", "a: &x [*x]\n", "? {}\n: 1\n", "--- \n...\n", "t: !!int 5", "<<: {t: 1}", "\xff\xfe", "t: |\n  5\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := Parse("f.yaml", text)
		var ours *Error
		if err != nil && (!errors.As(err, &ours) || strings.ContainsAny(err.Error(), "\n\r\x1b")) {
			t.Errorf("the error is not one printable line: %q", err)
		}
		for _, e := range entries {
			for _, item := range Items(e.Value) {
				_, _ = Scalar("f.yaml", item)
			}
		}
	})
}
