package sensor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/expr-lang/expr"
	"pgregory.net/rapid"
)

// byExpr evaluates a condition by expr alone, with functions for the metrics.
func byExpr(t *rapid.T, text string, v *values) bool {
	call := func(name string) func(string) int {
		return func(word string) int {
			for m, known := range metricNames {
				if known == name+"("+word+")" {
					return v.of(metric(m))
				}
			}
			panic(word)
		}
	}
	env := map[string]any{"count": v.Flows, "sum": call("sum"), "distinct": call("distinct")}
	for _, word := range []string{"bytes", "packets", "src", "dst", "src_port", "dst_port"} {
		env[word] = word
	}
	program, err := expr.Compile(text, expr.Env(env), expr.DisableAllBuiltins())
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	result, err := expr.Run(program, env)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return result.(bool)
}

// anyCondition draws an expression that is true or false.
func anyCondition(t *rapid.T, depth int) string {
	if depth == 0 || rapid.IntRange(0, 2).Draw(t, "leaf") == 0 {
		operator := rapid.SampledFrom([]string{"<", "<=", ">", ">=", "==", "!="}).Draw(t, "operator")
		return fmt.Sprintf("%s %s %s", anyNumber(t, depth), operator, anyNumber(t, depth))
	}
	switch rapid.IntRange(0, 4).Draw(t, "form") {
	case 4:
		return fmt.Sprintf("(%s) %s (%s)", anyCondition(t, depth-1), rapid.SampledFrom([]string{"==", "!="}).Draw(t, "equal"), anyCondition(t, depth-1))
	case 0:
		return "not (" + anyCondition(t, depth-1) + ")"
	case 1:
		return fmt.Sprintf("(%s) or (%s)", anyCondition(t, depth-1), anyCondition(t, depth-1))
	case 2:
		return fmt.Sprintf("(%s) ? %s : %s", anyCondition(t, depth-1), anyCondition(t, 0), anyCondition(t, 0))
	}
	return fmt.Sprintf("(%s) %s (%s)", anyCondition(t, depth-1), rapid.SampledFrom([]string{"and", "&&"}).Draw(t, "and"), anyCondition(t, depth-1))
}

func anyNumber(t *rapid.T, depth int) string {
	switch rapid.IntRange(0, 4).Draw(t, "number") {
	case 0:
		return fmt.Sprint(rapid.IntRange(0, 6).Draw(t, "integer"))
	case 1:
		return fmt.Sprintf("%.1f", rapid.Float64Range(0, 6).Draw(t, "float"))
	case 2:
		if depth > 0 {
			return fmt.Sprintf("%s(%s %s %s)", rapid.SampledFrom([]string{"", "-", "+"}).Draw(t, "sign"), anyNumber(t, depth-1), rapid.SampledFrom([]string{"+", "-", "*", "/"}).Draw(t, "arithmetic"), anyNumber(t, depth-1))
		}
	}
	return rapid.SampledFrom(metricNames[:]).Draw(t, "metric")
}

// What is checked quickly, and what expr is asked for, together say what expr
// says.
func TestConditionsAreThoseOfExpr(t *testing.T) {
	small := rapid.IntRange(0, 6)
	rapid.Check(t, func(t *rapid.T) {
		text := anyCondition(t, 2)
		c, err := compile(text)
		if err != nil {
			if strings.Contains(err.Error(), "maximum allowed nodes") {
				t.Skip()
			}
			t.Fatalf("%s: %v", text, err)
		}
		for range 10 {
			v := values{Flows: small.Draw(t, "count"), SumBytes: small.Draw(t, "bytes"), SumPackets: small.Draw(t, "packets"), DistinctSrc: small.Draw(t, "src"),
				DistinctDst: small.Draw(t, "dst"), DistinctSrcPort: small.Draw(t, "src_port"), DistinctDstPort: small.Draw(t, "dst_port")}
			got, err := c.holds(&v)
			if c.program != nil {
				t.Fatalf("%s needs the machine of expr", text)
			}
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if want := byExpr(t, text, &v); got != want {
				t.Fatalf("%s is %v for %+v, expr says %v", text, got, v, want)
			}
		}
	})
}

func TestFormsOfConditions(t *testing.T) {
	for _, c := range []struct {
		why, text string
		enough    int
		form      string
	}{
		{"more than", "count > 20", 21, "bounds"},
		{"at least", "count >= 20", 20, "bounds"},
		{"the other way round", "20 < count", 21, "bounds"},
		{"a sum that is a constant", "count > 10 * 2", 21, "bounds"},
		{"in brackets", "(count > 20)", 21, "bounds"},
		{"less needs every flow", "count < 20", 0, "bounds"},
		{"a number below one", "count > -1", 0, "bounds"},
		{"two bounds", "count > 20 and distinct(dst) > 5", 0, "bounds"},
		{"three bounds", "count > 20 and distinct(dst) > 5 and sum(bytes) < 100", 0, "bounds"},
		{"one of two", "count > 20 or distinct(dst) > 5", 0, "truth"},
		{"arithmetic", "count > 20 and sum(bytes) / count < 100", 0, "truth"},
		{"always", "true", 0, "truth"},
		{"what may fail", "count > 20 and sum(bytes) % count == 0", 0, "program"},
	} {
		cond, err := compile(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		form := "bounds"
		if cond.truth != nil {
			form = "truth"
		} else if cond.program != nil {
			form = "program"
		}
		if cond.enough() != c.enough || form != c.form {
			t.Errorf("%s: %q is decided by %d flows, in the form of %s", c.why, c.text, cond.enough(), form)
		}
	}
}

func TestArithmeticThatFailsIsFalseAndCounted(t *testing.T) {
	l := listen(t, parse(t, "builtin: off\nsensors: {a: {report_if: 10 % (sum(packets) - 1) == 0}}"))
	l.give(tcp("10.0.0.9", "10.1.0.1", 1, 2, 60, 0))
	if len(l.events) != 0 || l.count("sensor_condition_errors") != 1 {
		t.Errorf("%d events, %d errors", len(l.events), l.count("sensor_condition_errors"))
	}
}
