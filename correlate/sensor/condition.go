package sensor

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/expr-lang/expr"
	exprast "github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// metric is a number that a window has.
type metric uint8

const (
	flows metric = iota
	sumBytes
	sumPackets
	distinctSrc
	distinctDst
	distinctSrcPort
	distinctDstPort
	metrics
)

var metricNames = [metrics]string{"count", "sum(bytes)", "sum(packets)", "distinct(src)", "distinct(dst)", "distinct(src_port)", "distinct(dst_port)"}

// quantity and member are the types of the words that sum and distinct take, so
// that each takes only what is meant for it. They have no values.
type (
	quantity struct{}
	member   struct{}
)

// values are the metrics of one window. The names with brackets cannot be
// written: they stand for the calls, which are replaced when a condition is
// compiled.
type values struct {
	Flows           int `expr:"count"`
	SumBytes        int `expr:"sum(bytes)"`
	SumPackets      int `expr:"sum(packets)"`
	DistinctSrc     int `expr:"distinct(src)"`
	DistinctDst     int `expr:"distinct(dst)"`
	DistinctSrcPort int `expr:"distinct(src_port)"`
	DistinctDstPort int `expr:"distinct(dst_port)"`

	Bytes   quantity `expr:"bytes"`
	Packets quantity `expr:"packets"`
	Src     member   `expr:"src"`
	Dst     member   `expr:"dst"`
	SrcPort member   `expr:"src_port"`
	DstPort member   `expr:"dst_port"`
}

func (v *values) of(m metric) int {
	return [metrics]int{v.Flows, v.SumBytes, v.SumPackets, v.DistinctSrc, v.DistinctDst, v.DistinctSrcPort, v.DistinctDstPort}[m]
}

// condition is an expression over the metrics of a window. It holds when all of
// its bounds and, when there is more to it, the rest say so: as a truth, or as a
// program of expr where it cannot be one.
type condition struct {
	source  string
	uses    [metrics]bool
	bounds  []bound
	truth   truth
	program *vm.Program
	machine vm.VM
	asked   values // what the program reads
}

// bound compares a metric with a number. Bounds are what a condition has at its
// top level, joined by and: cheap to check, so that the rest is computed only
// where it can make a difference.
type bound struct {
	metric   metric
	operator string
	number   int
}

// Limits of a condition. It has no loops, and what it allocates is bounded by
// its nodes; the budget of the machine stands behind that.
const (
	maxCondition = 1000 // characters
	maxNodes     = 100
	memoryBudget = 1000
)

const conditionHelp = "a condition compares count, sum(bytes), sum(packets), distinct(src), distinct(dst), distinct(src_port) and distinct(dst_port) with numbers, as count > 100 and distinct(dst) >= 10"

// condition reads an expression.
func (r *reader) condition(node ast.Node, where string) (*condition, error) {
	text, place, err := r.scalar(node, where)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(text) == "" {
		return nil, failure(place, "is empty; %s", conditionHelp)
	}
	if len(text) > maxCondition {
		return nil, failure(place, "is longer than %d characters", maxCondition)
	}
	c, err := compile(text)
	if err != nil {
		return nil, r.conditionError(node, place, err)
	}
	return c, nil
}

// conditionError places an error of the expression in the file.
func (r *reader) conditionError(node ast.Node, place string, err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return failure(place, "%s; %s", firstLine(err.Error()), conditionHelp)
	}
	line, column := r.within(node, at.Line, at.Column)
	return failure(fmt.Sprintf("%s:%d:%d", r.name, line, column), "%s; %s", firstLine(at.Message), conditionHelp)
}

// within returns the line and column of the file at which a text has its own
// line and column, the one from 1, the other from 0.
func (r *reader) within(node ast.Node, line, column int) (int, int) {
	t := node.GetToken()
	if t == nil || t.Position == nil {
		return 0, 0
	}
	lines := strings.Split(string(r.text), "\n")
	row, col := t.Position.Line-1, t.Position.Column-1
	switch {
	case t.Type == token.LiteralType || t.Type == token.FoldedType: // a block begins on the line below
		row += line
		col = margin(lines, row)
	case t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType:
		col++
	}
	for range column {
		if row < len(lines) && col >= len(strings.TrimRight(lines[row], " \t\r")) { // a blank stands for the end of the line
			row++
			col = margin(lines, row)
			continue
		}
		col++
	}
	return row + 1, col + 1
}

// margin returns how far the text of a line is indented.
func margin(lines []string, row int) int {
	if row >= len(lines) {
		return 0
	}
	return len(lines[row]) - len(strings.TrimLeft(lines[row], " "))
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// compile checks and compiles an expression.
func compile(text string) (*condition, error) {
	c := &condition{source: strings.Join(strings.Fields(text), " ")}
	check := checker{condition: c}
	program, err := expr.Compile(text,
		expr.Env(&values{}), expr.AsBool(), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(),
		expr.Function("sum", never, new(func(quantity) int)),
		expr.Function("distinct", never, new(func(member) int)),
		expr.Patch(&check))
	if check.err != nil {
		return nil, check.err.Bind(file.NewSource(text))
	}
	if err != nil {
		return nil, plainer(err)
	}
	c.machine.MemoryBudget = memoryBudget
	if c.bind(program.Node()) {
		return c, nil
	}
	if c.truth = truthOf(program.Node()); c.truth == nil {
		c.program = program
	}
	return c, nil
}

// plainer says what a mismatch of the types above means to a person.
func plainer(err error) error {
	var at *file.Error
	if errors.As(err, &at) && (strings.Contains(at.Message, "sensor.quantity") || strings.Contains(at.Message, "sensor.member")) {
		at.Message = "bytes and packets can only stand in sum(...), src, dst, src_port and dst_port only in distinct(...)"
	}
	return err
}

// never is the body of functions whose calls are all replaced.
func never(...any) (any, error) { return nil, errors.New("cannot be called") }

// checker replaces sum(bytes) and its like by the metric, notes which metrics
// are used, and refuses what a condition has no use for.
type checker struct {
	condition *condition
	err       *file.Error
}

// Visit looks at one node; those below it were visited before.
func (c *checker) Visit(node *exprast.Node) {
	switch n := (*node).(type) {
	case *exprast.IntegerNode, *exprast.FloatNode, *exprast.BoolNode, *exprast.ConditionalNode, *exprast.UnaryNode:
	case *exprast.IdentifierNode:
		if n.Value == metricNames[flows] {
			c.condition.uses[flows] = true
		}
	case *exprast.BinaryNode:
		if !strings.Contains(" and or && || == != < <= > >= + - * / % ", " "+n.Operator+" ") {
			c.refuse(*node, "%s cannot be used in a condition", n.Operator)
		}
	case *exprast.CallNode:
		c.call(node, n)
	default:
		c.refuse(*node, "texts, lists, loops and functions other than sum and distinct cannot be used in a condition")
	}
}

func (c *checker) call(node *exprast.Node, n *exprast.CallNode) {
	name, _ := n.Callee.(*exprast.IdentifierNode)
	if name == nil || name.Value != "sum" && name.Value != "distinct" {
		c.refuse(*node, "only sum and distinct can be called in a condition")
		return
	}
	if len(n.Arguments) == 1 {
		if of, ok := n.Arguments[0].(*exprast.IdentifierNode); ok {
			for m, known := range metricNames {
				if known == name.Value+"("+of.Value+")" {
					c.condition.uses[m] = true
					exprast.Patch(node, &exprast.IdentifierNode{Value: known})
					return
				}
			}
		}
	}
	if name.Value == "sum" {
		c.refuse(*node, "sum takes bytes or packets")
		return
	}
	c.refuse(*node, "distinct takes src, dst, src_port or dst_port")
}

func (c *checker) refuse(node exprast.Node, format string, args ...any) {
	if c.err == nil {
		c.err = &file.Error{Location: node.Location(), Message: fmt.Sprintf(format, args...)}
	}
}

// bind takes the bounds of a tree and reports whether they are all of it.
func (c *condition) bind(node exprast.Node) (whole bool) {
	n, ok := node.(*exprast.BinaryNode)
	if !ok {
		return false
	}
	switch n.Operator {
	case "and", "&&":
		left := c.bind(n.Left)
		return c.bind(n.Right) && left
	case "<", "<=", ">", ">=", "==", "!=":
		b, ok := newBound(n.Left, n.Operator, n.Right)
		if !ok {
			b, ok = newBound(n.Right, mirrored[n.Operator], n.Left)
		}
		if ok {
			c.bounds = append(c.bounds, b)
		}
		return ok
	}
	return false
}

var mirrored = map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}

func newBound(left exprast.Node, operator string, right exprast.Node) (b bound, ok bool) {
	name, isName := left.(*exprast.IdentifierNode)
	number, isNumber := right.(*exprast.IntegerNode)
	if !isName || !isNumber {
		return b, false
	}
	for m, known := range metricNames {
		if known == name.Value {
			return bound{metric(m), operator, number.Value}, true
		}
	}
	return b, false
}

func (b *bound) holds(v *values) bool {
	x := v.of(b.metric)
	switch b.operator {
	case "<":
		return x < b.number
	case "<=":
		return x <= b.number
	case ">":
		return x > b.number
	case ">=":
		return x >= b.number
	case "==":
		return x == b.number
	}
	return x != b.number
}

// holds reports whether the condition is true. An error is one of arithmetic,
// as a division of whole numbers by zero; then it is not.
func (c *condition) holds(v *values) (bool, error) {
	if c == nil {
		return true, nil
	}
	for i := range c.bounds {
		if !c.bounds[i].holds(v) {
			return false, nil
		}
	}
	if c.program == nil {
		return c.truth == nil || c.truth(v), nil
	}
	c.asked = *v
	result, err := c.machine.Run(c.program, &c.asked)
	if err != nil {
		return false, err
	}
	yes, _ := result.(bool)
	return yes, nil
}

// enough returns how many flows of a window decide the condition: when it is
// count > n and nothing more, any further flow changes nothing. 0 means that
// all of them matter.
func (c *condition) enough() int {
	if c == nil {
		return 1
	}
	if c.program != nil || c.truth != nil || len(c.bounds) != 1 || c.bounds[0].metric != flows {
		return 0
	}
	b := c.bounds[0]
	switch {
	case b.number < 1 || b.number > math.MaxInt32:
		return 0
	case b.operator == ">":
		return b.number + 1
	case b.operator == ">=":
		return b.number
	}
	return 0
}

// measured returns the metric that stands first, and what it was compared with.
func (c *condition) measured() (b bound, ok bool) {
	if c == nil || len(c.bounds) == 0 {
		return b, false
	}
	return c.bounds[0], true
}

func (c *condition) text() string {
	if c == nil {
		return ""
	}
	return c.source
}
